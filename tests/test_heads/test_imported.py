"""A released checkpoint becomes a bundle that gives the checkpoint's own predictions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from extract.released.humansam import import_checkpoint, save_imported
from features_store import Store
from heads.bundle import Bundle
from heads.scoring.branches import find_branches
from heads.scoring.imported import imported_bundle
from tests.test_extract.extractions import settings, write_videos
from tests.test_extract.test_humansam import checkpoint, save
from tests.test_features_store.test_cli import here


def test_a_checkpoint_scores_videos(tmp_path: Path) -> None:
    state = checkpoint()
    path = save(state, tmp_path / "humansam.pth")
    here("import-checkpoint", path, "--out", tmp_path / "imported")
    bundle = Bundle.load(tmp_path / "imported" / "bundle")
    branches = find_branches(bundle, [tmp_path / "imported"], "cpu")
    manifest = write_videos(tmp_path / "data", 8)
    from extract.running.extraction import Extraction

    Extraction.begin(manifest, tmp_path / "t", branches, settings()).run(workers=1, bar=False)
    table = bundle.table(Store.open(tmp_path / "t"), protocol="val")
    found: NDArray[Any] = bundle.predict(table)
    np.testing.assert_allclose(found[:, 0], as_released(state, table.arrays), atol=2e-5)


def as_released(state: dict[str, torch.Tensor], arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The released forward: interleaved cls and avg, fc1, alpha, head."""
    f = {name: torch.from_numpy(array[:, 0]).float() for name, array in arrays.items()}
    w = {name: tensor.float() for name, tensor in state.items()}
    pair = torch.stack([f["internvideo2/cls"], f["internvideo2/avg"]], 2)
    mean, variance = w["model1.down_norm.running_mean"], w["model1.down_norm.running_var"]
    pair = (pair - mean[:, None]) / (variance[:, None] + 1e-6).sqrt()
    attn = torch.nn.functional.layer_norm(
        f["internvideo2/attn"], (96,), w["model1.fc_norm.weight"], w["model1.fc_norm.bias"]
    )
    video = torch.cat([pair.flatten(1), attn], 1) @ w["fc1.weight"].T + w["fc1.bias"]
    depth = f["depthpro/depth"].mean(1)
    fused = w["alpha"] * video + (1 - w["alpha"]) * depth
    logits = fused @ w["head.weight"].T + w["head.bias"]
    found: NDArray[Any] = logits.softmax(-1).numpy()
    return found


def test_the_bundle_says_where_it_comes_from(tmp_path: Path) -> None:
    imported = import_checkpoint(save(checkpoint(2), tmp_path / "w.pth"))
    save_imported(imported, tmp_path / "out", "w.pth")
    bundle = imported_bundle(imported, tmp_path / "out", "w.pth", "float32")
    assert bundle.classes == ("forgery", "real")
    assert bundle.about.provenance["checkpoint"] == "w.pth"
    assert bundle.about.protocol == "test-4x3"
