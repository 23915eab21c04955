"""VBench-2.0's human anomaly: letterbox, crops, preprocessing, the chain of all, its verdicts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.parity.rows import Kind, Row, compare, exact, tensors, weights_of
from extract.networks import simmim
from extract.people.crops import crop_look, square_around
from extract.people.letterbox import Letterbox
from extract.views.looks import looked
from heads.parts import person_verdicts

FOLDER = "human-anomaly"
SIZE = 224
PARTS = ("human", "face", "hand")
_BACK = 1e-3
_CORNER = 8


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    return _KINDS.get(path.stem) if path.parent.name == FOLDER else None


def _letterbox_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    for number, case in enumerate(described["cases"]):
        height, width = case["frame_hw"]
        box = Letterbox(width=width, height=height)
        left, top = box.corner
        geometry = [*box.resized[::-1], top, left]
        pad = case["pad_top_bottom_left_right"]
        yield exact(path.name, f"{number}", geometry, [*case["resized_hw"], pad[0], pad[2]])
        back = torch.from_numpy(box.back(golden["boxes_on_canvas"].numpy()))
        name = f"{number}.boxes_back"
        yield compare(path.name, name, back, golden[name], _BACK)
        if f"{number}.frame" in golden:
            canvas = box.canvas(golden[f"{number}.frame"].numpy())[::5, ::5]
            expected = golden[f"{number}.canvas_every_5th"].numpy()
            yield exact(path.name, f"{number}.canvas", _wide(canvas), _wide(expected))


def _crops_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    found = []
    for (height, width), box in zip(
        golden["frame_hw"].tolist(), golden["box_xyxy"].tolist(), strict=True
    ):
        square = square_around(tuple(box), width, height)
        corners = (-1,) * 4
        if square is not None:
            corners = (square.left, square.top, square.right, square.bottom)
        found.append(corners)
    yield exact(path.name, "crop_xyxy", found, golden["crop_xyxy"].numpy())
    errors = sum(case["error"] is not None for case in described["cases"])
    yield exact(path.name, "no crop", sum(corners[0] < 0 for corners in found), errors)


def _preprocess_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, look = tensors(path), crop_look(SIZE)
    tolerance = described["tolerance_absolute"]["tensor, tensor_corner"]
    pictures = {
        name: golden[name].numpy() for name in golden if name.removeprefix("crop").isdigit()
    }
    with Image.open(path.with_name("sample.png")) as sample:
        pictures["sample.png"] = np.asarray(sample.convert("RGB"))
    for name, picture in pictures.items():
        seen = looked(picture, look)
        yield exact(
            path.name, f"{name}.centre224", _wide(seen), _wide(golden[f"{name}.centre224"].numpy())
        )
        levels = torch.from_numpy(seen.copy()).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(x)[:, None, None] for x in (look.mean, look.std))
        corner = ((levels - mean) / std)[:, :_CORNER, :_CORNER]
        name = f"{name}.tensor_corner"
        yield compare(path.name, name, corner, golden[name], tolerance)
    for size, short in described["image_sizes"].items():
        yield exact(path.name, f"short side of {size}", crop_look(int(size)).short, short)


@torch.no_grad()
def _chain_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """Frames and boxes → crops → three networks → verdicts."""
    golden, state = tensors(path), weights_of(path)
    models = {
        part: simmim.from_state(
            {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")}
        )[0]
        for part in PARTS
    }
    height, width = golden["frames_bgr"].shape[1:3]
    look = crop_look(models[PARTS[0]].architecture.image)
    found: list[Tensor] = []
    for one, box in zip(described["detections"], golden["boxes"].tolist(), strict=True):
        square = square_around(tuple(box), width, height)
        assert square is not None
        seen = looked(square.of(golden["frames_bgr"][one["frame"]].numpy()), look)
        levels = torch.from_numpy(seen.copy()).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(x)[:, None, None] for x in (look.mean, look.std))
        pixels = (levels - mean) / std
        if not found:
            yield compare(path.name, "input0", pixels, golden["input0"], 1e-6)
        found.append(models[one["label"]](pixels[None])[0].softmax(0))
    tolerance = described["tolerance_absolute"]["prob"]
    yield compare(path.name, "prob", torch.stack(found), golden["prob"], tolerance)
    detected = [
        {"frame_index": one["frame"], "person_index": one["person"], "label": one["label"],
         "prob": prob}
        for one, prob in zip(described["detections"], torch.stack(found).tolist(), strict=True)
    ]  # fmt: skip
    frames = len(golden["frames_bgr"])
    yield from _verdict_rows(path.name, "chain", detected, frames, described["expected"], None)


def _aggregate_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    scores = []
    for video in described["videos"]:
        expected = video["expected"]
        yield from _verdict_rows(
            path.name, video["name"], video["detections"], video["frames_read"], expected,
            video["readme_reading_mean_over_frames"],
        )  # fmt: skip
        scores.append(expected["video_score"])
    yield exact(path.name, "dimension", np.mean(scores), described["dimension_score"])


def _verdict_rows(
    file: str, name: str, detected: list[dict[str, Any]], frames: int, expected: dict[str, Any],
    readme: float | None,
) -> Iterator[Row]:  # fmt: skip
    persons = 1 + max((one["person_index"] for one in detected), default=0)
    scores = np.zeros((frames, persons, len(PARTS)))
    there = np.zeros((frames, persons, len(PARTS)), bool)
    person = np.zeros((frames, persons), bool)
    for one in detected:
        if one["frame_index"] >= frames:
            continue
        place = (one["frame_index"], one["person_index"])
        person[place] = True
        if one["label"] in PARTS:
            part = (*place, PARTS.index(one["label"]))
            scores[part] = max(scores[part], one["prob"][0])
            there[part] = True
    wrong = person_verdicts.abnormal(scores, there, person_verdicts.RELEASED)
    counted = [(one["person_count"], one["abnormal_count"]) for one in expected["frames"]]
    ours = list(zip(person.sum(1).tolist(), wrong.sum(1).tolist(), strict=True))
    yield exact(file, f"{name}: persons and abnormal ones", ours, counted)
    share = float(np.nan_to_num(person_verdicts.share_of_persons(wrong, person), nan=1.0))
    yield _close(file, f"{name}: score", share, expected["video_score"])
    if readme is not None:
        frame_mean = float(person_verdicts.share_of_frames(wrong, person))
        yield _close(file, f"{name}: mean over frames", frame_mean, readme)


def _close(file: str, quantity: str, ours: float, theirs: float) -> Row:
    one, other = (torch.tensor([value], dtype=torch.float64) for value in (ours, theirs))
    return compare(file, quantity, one, other, 1e-12)


def _wide(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Levels whose differences do not wrap round."""
    return picture.astype(np.int64)


_KINDS: dict[str, Callable[[Path, dict[str, Any]], Iterator[Row]]] = {
    "letterbox": _letterbox_rows,
    "crops": _crops_rows,
    "preprocess": _preprocess_rows,
    "chain": _chain_rows,
    "aggregate": _aggregate_rows,
}
