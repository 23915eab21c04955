"""A released AltFreezing checkpoint becomes a bundle that gives the network's own scores."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import Canvas, DetectorIdentity, detections
from extract.running.extraction import Extraction
from features_store import Store
from heads.bundle import Bundle
from heads.measuring.metrics import averaged
from heads.scoring.branches import find_branches
from tests.test_extract.clips import write_clip
from tests.test_extract.extractions import settings
from tests.test_extract.faces import moving
from tests.test_features_store.test_cli import here

GOLDEN = Path("tests/golden/altfreezing")
PROTOCOL = "windows-3x8"


def test_a_checkpoint_scores_windows_as_it_does_itself(tmp_path: Path) -> None:
    state = load_file(GOLDEN / "i3d_tiny_weights.safetensors")
    checkpoint = tmp_path / "altfreezing.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, checkpoint)
    (tmp_path / "videos").mkdir()
    for name in ("face.mp4", "none.mp4"):
        write_clip(tmp_path / "videos" / name, frames=26)
    canvas = Canvas(frames=tuple(range(26)), width=160, height=90)
    found = {"face.mp4": moving(range(26)), "none.mp4": detections([], canvas)}
    boxes = tmp_path / "faces.parquet"
    boxes.write_bytes(file_bytes(boxes_table(found), DetectorIdentity(name="made-up")))

    out = tmp_path / "imported"
    assert "--boxes" in here("import-checkpoint", checkpoint, "--out", out, expect=1)
    printed = here("import-checkpoint", checkpoint, "--out", out, "--boxes", boxes)
    assert "altfreezing-tiny.safetensors" in printed
    bundle = Bundle.load(out / "bundle")
    assert bundle.classes == ("forgery", "real")

    manifest = read_manifest(tmp_path / "videos", ManifestOptions(scheme="hfv2"))
    branches = find_branches(bundle, [out], "cpu")
    how = settings(protocol=PROTOCOL)
    Extraction.begin(manifest, tmp_path / "s", branches, how).run(workers=1, bar=False)
    store = Store.open(tmp_path / "s")
    scores = bundle.predict(bundle.table(store, protocol=PROTOCOL))
    logits = store.table(["altfreezing/logit"], protocol=PROTOCOL).arrays["altfreezing/logit"]
    own = torch.from_numpy(logits[0, :, 0]).sigmoid().numpy()
    np.testing.assert_allclose(scores[0, :, 0], own, atol=1e-6)
    assert np.isnan(scores[1]).all()
    means = averaged(scores)
    np.testing.assert_allclose(means[0, 0], own.mean(), atol=1e-6)
    assert np.isnan(means[1]).all()
