"""Detectors behind their contract: YOLO-World by sessions of our own, OWLv2 in small."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from extract.errors import BadSetting, BadWeights
from extract.people.detector import DetectorRequest, load_detector
from extract.people.letterbox import Letterbox
from extract.people.yolo_world import YoloWorld, suppress

HEIGHT, WIDTH = 90, 160
FRAME = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
Rows = list[tuple[tuple[float, float, float, float], list[float]]]


class Exported:
    """A network that says the same of every picture, in the picture's own pixels."""

    def __init__(self, rows: Rows, size: tuple[int, int] | None = None) -> None:
        self.rows, self.size = rows, size
        self.shown: list[NDArray[np.float32]] = []

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="images")]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="scores"), SimpleNamespace(name="boxes")]

    def run(self, names: None, inputs: Mapping[str, NDArray[np.float32]]) -> list[Any]:
        self.shown.append(inputs["images"])
        width, height = self.size or (WIDTH, HEIGHT)
        box = Letterbox(width=width, height=height)
        scale = np.array([box.resized[0] / width, box.resized[1] / height] * 2)
        boxes = np.array([row for row, _ in self.rows]) * scale + np.array(box.corner * 2)
        return [np.array([[s for _, s in self.rows]]), boxes[None]]


def test_parts_are_looked_for_inside_of_persons_and_shifted_back() -> None:
    persons = Exported([((20.4, 10.0, 60.9, 80.0), [0.9, 0.0]), ((1.0, 1.0, 9.0, 9.0), [0.0, 0.6])])
    parts = Exported(
        [((5.0, 5.0, 15.0, 20.0), [0.8, 0.0, 0.0]), ((2.0, 40.0, 9.0, 50.0), [0.05, 0.7, 0.0]),
         ((0.0, 0.0, 9.0, 9.0), [0.0, 0.0, 0.9])],
        size=(40, 70),
    )  # fmt: skip
    found = YoloWorld(persons, parts, weights="", threshold=0.1, official=False).find(FRAME, 3)
    assert {(one.kind, one.person, one.frame) for one in found} == {
        ("person", 0, 3), ("face", 0, 3), ("hand", 0, 3),
    }  # fmt: skip
    assert len(found) == 3
    by_kind = {one.kind: one for one in found}
    assert by_kind["person"].box == pytest.approx((20.4, 10, 60.9, 80), abs=1e-3)
    assert by_kind["face"].box == pytest.approx((25, 15, 35, 30), abs=1e-3)
    assert parts.shown[0].shape == (1, 3, 640, 640)
    assert float(parts.shown[0][0, 0, 0, 0]) == pytest.approx(114 / 255)


def test_as_released_what_looks_like_nothing_is_a_person_too() -> None:
    persons = Exported([((20.0, 10.0, 60.0, 80.0), [0.9, 0.0]), ((1.0, 1.0, 9.0, 9.0), [0.0, 0.6])])
    detector = YoloWorld(persons, Exported([], (40, 70)), weights="", threshold=0.1, official=True)
    detector._parts = Exported([((0.0, 0.0, 1.0, 1.0), [0.0, 0.0, 0.0])], (40, 70))
    assert [one.kind for one in detector.find(FRAME, 0)] == ["person", "person"]


def test_boxes_of_one_text_silence_each_other_and_those_of_two_do_not() -> None:
    box, near = [10.0, 10, 50, 50], [11.0, 10, 51, 50]
    said = {"boxes": np.array([[box, near]]), "scores": np.array([[[0.5, 0.4], [0.6, 0.0]]])}
    seen = suppress(said)
    assert seen.scores_n.tolist() == pytest.approx([0.6, 0.4])
    assert seen.labels_n.tolist() == [0, 1]
    assert seen.boxes_n4.tolist() == [near, box]


def test_an_export_that_is_another_is_refused() -> None:
    with pytest.raises(BadWeights, match="go from -3 to 2"):
        suppress({"boxes": np.zeros((1, 2, 4)), "scores": np.array([[[-3.0], [2.0]]])})
    with pytest.raises(BadWeights, match="gives logits"):
        suppress({"logits": np.zeros(3)})


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for text, said in (
        ("yolo", "'yolo' unknown; have: yolo-world, owlv2, grounding-dino, mtcnn, made-up"),
        ("yolo-world", "needs a folder with persons.onnx and parts.onnx"),
        ("owlv2:", "give NAME or NAME:PATH"),
        ("mtcnn?side=3", "no setting 'side'; have: smallest"),
        ("mtcnn?smallest=2", "give 12 to 2000"),
    ):
        with pytest.raises(BadSetting, match=said):
            load_detector(DetectorRequest.parse(text))
    with pytest.raises(BadWeights, match=r"persons\.onnx is not there"):
        load_detector(DetectorRequest.parse(f"yolo-world:{tmp_path}"))
    for name in ("persons.onnx", "parts.onnx"):
        (tmp_path / name).write_bytes(b"no network")
    with pytest.raises((BadSetting, BadWeights), match=r"onnxruntime"):
        load_detector(DetectorRequest.parse(f"yolo-world:{tmp_path}"))


def owl_folder(folder: Path) -> Path:
    """OWLv2 with random numbers, and a tokenizer of single letters."""
    import torch
    import transformers

    text = {"vocab_size": 600, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 16, "bos_token_id": 2,
            "eos_token_id": 1, "pad_token_id": 1}  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2, "image_size": 64, "patch_size": 16}  # fmt: skip
    config = transformers.Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    torch.manual_seed(0)
    transformers.Owlv2ForObjectDetection(config).save_pretrained(folder)
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz")]
    names = ["<unk>", "<|endoftext|>", "<|startoftext|>", *letters]
    (folder / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 16}))
    sizes = {"size": {"height": 64, "width": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(sizes))
    return folder


@pytest.mark.slow
def test_owlv2_out_of_a_folder(tmp_path: Path) -> None:
    folder = owl_folder(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, FRAME.shape, np.uint8)
    every = load_detector(DetectorRequest.parse(f"owlv2:{folder}?threshold=0"))
    found = every.find(noise, 5)
    assert found
    for one in found:
        assert one.frame == 5
        left, top, right, bottom = one.box
        assert 0 <= left <= right <= WIDTH
        assert 0 <= top <= bottom <= HEIGHT
    middle = float(np.median([one.score for one in found]))
    fewer = load_detector(DetectorRequest.parse(f"owlv2:{folder}?threshold={middle}"))
    assert len(fewer.find(noise, 5)) < len(found)
    assert fewer.identity != every.identity
    assert fewer.identity.weights == every.identity.weights
    (folder / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(BadWeights, match="folder of 'vit', not of OWLv2"):
        load_detector(DetectorRequest.parse(f"owlv2:{folder}"))


def dino_folder(folder: Path) -> Path:
    """Grounding DINO with random numbers; its tokenizer knows two of the names and parts of one."""
    import torch
    import transformers

    swin = {"model_type": "swin", "embed_dim": 12, "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 1, 1], "window_size": 4, "out_indices": [2, 3, 4]}  # fmt: skip
    bert = {"model_type": "bert", "vocab_size": 12, "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16}  # fmt: skip
    config = transformers.GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=32, num_queries=30, encoder_layers=1,
        decoder_layers=2, encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2,
        decoder_attention_heads=2, max_text_len=16,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "person", "fa", "##ce", "hand"]
    (folder / "vocab.txt").write_text("\n".join(words))
    sizes = {"size": {"shortest_edge": 64, "longest_edge": 96}}
    (folder / "preprocessor_config.json").write_text(json.dumps(sizes))
    return folder


@pytest.mark.slow
def test_grounding_dino_finds_what_its_own_processor_finds(tmp_path: Path) -> None:
    """But that a full stop is no name, and boxes silence each other."""
    import torch
    import transformers

    folder = dino_folder(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, FRAME.shape, np.uint8)
    detector = load_detector(DetectorRequest.parse(f"grounding-dino:{folder}?threshold=0"))
    found = detector.find(noise, 5)
    processor = transformers.GroundingDinoProcessor(
        transformers.GroundingDinoImageProcessorPil.from_pretrained(folder),
        transformers.BertTokenizer.from_pretrained(folder),
    )
    network = transformers.GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    names = [["person", "face", "hand"]]
    given = processor(images=[noise], text=names, return_tensors="pt")
    assert given["input_ids"].tolist() == [[2, 6, 5, 7, 8, 5, 9, 5, 3]]
    with torch.no_grad():
        said = network(**given)
    (theirs,) = processor.post_process_grounded_object_detection(
        said, given["input_ids"], threshold=0.0, target_sizes=[(HEIGHT, WIDTH)]
    )
    probabilities = said.logits[0].sigmoid().numpy()
    best = np.stack([probabilities[:, span].max(1) for span in ([1], [3, 4], [6])], 1)
    boxes = np.clip(theirs["boxes"].numpy(), 0, [WIDTH, HEIGHT] * 2)
    wanted = {
        (("person", "face", "hand")[row.argmax()], round(float(row.max()), 5)): box
        for row, box in zip(best, boxes, strict=True)
    }
    assert 3 <= len(found) <= len(wanted) == 30
    for one in found:
        assert one.frame == 5
        assert one.box == pytest.approx(wanted[one.kind, round(one.score, 5)], abs=1e-3)
    fewer = load_detector(DetectorRequest.parse(f"grounding-dino:{folder}?threshold=0.5"))
    assert all(one.score > 0.5 for one in fewer.find(noise, 5))
    assert fewer.identity != detector.identity
    assert fewer.identity.weights == detector.identity.weights
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    with pytest.raises(BadWeights, match="makes 0 names"):
        load_detector(DetectorRequest.parse(f"grounding-dino:{folder}"))
    (folder / "config.json").write_text('{"model_type": "owlv2"}')
    with pytest.raises(BadWeights, match="folder of 'owlv2', not of Grounding DINO"):
        load_detector(DetectorRequest.parse(f"grounding-dino:{folder}"))
