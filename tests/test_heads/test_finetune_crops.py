"""The branch `anatomy` fine-tuned on pictures that are crops of one kind already."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from extract.branch import BranchRequest, load_branch
from extract.manifest.manifest import Manifest, ManifestOptions, read_manifest
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import DetectorIdentity, Found, detections
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from features_store import Store
from heads.bundle import Bundle
from heads.errors import BadSetting
from heads.finetuning.backbone import Backbone
from heads.finetuning.setup import BACKBONE, HEAD
from heads.parts.arrays import load_tensors
from tests.test_features_store.test_cli import here
from tests.test_heads.crops import COUNT, pictures

GOLDEN = Path(__file__).parents[1] / "golden" / "human-anomaly"
START = f"anatomy=tiny:{GOLDEN / 'simmim_weights.safetensors'}"
"""A pre-training file, without a head."""
FACES = "boxes=whole-face&size=32&dtype=float32"
PROTOCOL = "frames-2@8"
FACE, ABNORMAL = 1, 1
RELEASED = (
    "layer_decay=0.65", "min_lr=2e-4", "schedule=timm", "warmup=0.1", "clip=5", "smoothing=0.1",
    "weight_decay=0.05", "mixup=0.8", "cutmix=1.0", "drop_path=0.1", "rank_loss=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The list of pictures; what the pre-trained network says of them is in `s` beside it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    listed = pictures(tmp_path_factory.mktemp("faces"))
    extracted(listed, listed.with_name("s"), f"{START}?{FACES}")
    yield listed
    torch.set_num_threads(threads)


def manifest(listed: Path) -> Manifest:
    return read_manifest(listed, ManifestOptions(scheme="hfv2"))


def extracted(listed: Path, store: Path, branch: str) -> Store:
    network = load_branch(BranchRequest.parse(f"{branch}&frames=2"))
    run = Extraction.begin(manifest(listed), store, [network], Settings(protocol=PROTOCOL))
    run.run(workers=1, bar=False)
    return Store.open(store)


def test_the_tuned_file_judges_as_the_tuned_head_does(faces: Path, tmp_path: Path) -> None:
    """Trained by the released settings; the row that says abnormal is the one that was asked for,
    which is not the class's place in the scheme."""
    query, out = f"{FACES}&abnormal={ABNORMAL}", tmp_path / "out"
    settings = (part for text in (*RELEASED, "lr=5e-3", "epochs=4", "batch=6", "select=loss")
                for part in ("--set", text))  # fmt: skip
    said = here(
        "finetune", "--store", faces.with_name("s"), "--branch", f"{START}?{query}",
        "--depth", "end-to-end", "--videos", faces, "--validation", "0.25", "--workers", "1",
        "--device", "cpu", "--out", out, *settings,
    )  # fmt: skip
    assert f"{3 * COUNT // 4} videos to learn from" in said
    bundle = Bundle.load(out / HEAD)
    assert bundle.head.keys == ("anatomy/vector", "anatomy/present")

    old = load_branch(BranchRequest.parse(f"{START}?{query}")).trainable()
    assert old is not None
    tuned = load_tensors(out / BACKBONE)
    assert set(tuned) == set(old.weights())
    assert not [name for name, tensor in old.weights().items() if torch.equal(tensor, tuned[name])]

    store = extracted(faces, tmp_path / "s", f"anatomy=tiny:{out / BACKBONE}?{query}")
    expected = bundle.head.predict(bundle.table(store))[:, 0]
    logits = store.table(["anatomy/logits"], protocol=PROTOCOL).arrays["anatomy/logits"]
    shares = torch.from_numpy(np.asarray(logits)[:, 0, 0, 0, FACE]).softmax(-1)
    forged = bundle.classes.index("forgery")
    assert forged != ABNORMAL
    np.testing.assert_allclose(shares[:, ABNORMAL], expected[:, forged], atol=1e-5)
    labels = store.table(["anatomy/vector"], protocol=PROTOCOL).labels
    judged = expected.argmax(-1) == labels
    assert judged.mean() > 0.8


def test_with_a_file_of_boxes_it_stays_frozen_and_says_why(tmp_path: Path) -> None:
    found = detections([Found(frame=0, kind="person", box=(1.0, 1.0, 9.0, 9.0))])
    file = tmp_path / "b.parquet"
    file.write_bytes(file_bytes(boxes_table({"a": found}), DetectorIdentity(name="test")))
    with pytest.raises(BadSetting, match=r"three networks judge at once.*boxes=whole-person"):
        Backbone.load(BranchRequest.parse(f"anatomy=tiny?boxes={file}"), PROTOCOL)
