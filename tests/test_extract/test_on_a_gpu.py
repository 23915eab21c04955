"""What only a CUDA device can show: compiled blocks, two streams, halves that come down."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from extract.branch import BranchRequest, load_branch
from extract.networks.compiled import compile_blocks
from extract.running.extraction import Extraction
from features_store import Store
from features_store.schema import Status
from tests.test_extract.extractions import extract, settings, write_videos

NETWORKS = ("internvideo2", "depthpro")


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_blocks_agree_with_eager_ones(name: str) -> None:
    request = replace(BranchRequest.parse(f"{name}=tiny"), device="cuda")
    branch, exact = load_branch(request), load_branch(replace(request, precision="float32"))
    views = branch.example(4)
    eager = branch.forward(views)
    torch.compiler.reset()
    assert compile_blocks(branch.model, fullgraph=True) > 2  # type: ignore[attr-defined]
    compiled, whole = branch.forward(views), exact.forward(views)
    for output, numbers in whole.items():
        errors = [
            float((found[output].float() - numbers).norm() / numbers.norm())
            for found in (eager, compiled)
        ]
        assert errors[1] < max(1.2 * errors[0], 0.01)


@pytest.mark.gpu
@pytest.mark.parametrize("when", ["never", "always"])
@pytest.mark.parametrize("batch", [None, 3])
def test_a_store_made_on_a_gpu_is_near_one_made_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, batch: int | None
) -> None:
    monkeypatch.setenv("TELLTALE_COMPILE", when)
    manifest = write_videos(tmp_path / "videos", 14)
    extract(manifest, tmp_path / "cpu", branches=NETWORKS)
    requests = [replace(BranchRequest.parse(f"{name}=tiny"), device="cuda") for name in NETWORKS]
    branches = [load_branch(request) for request in requests]
    how = settings(batch=batch)
    Extraction.begin(manifest, tmp_path / "cuda", branches, how).run(workers=2, bar=False)
    stores = [Store.open(tmp_path / name) for name in ("cpu", "cuda")]
    for network in NETWORKS:
        pair = [
            store.open_branch(
                "val", next(b for b in store.branches("val") if b.startswith(network))
            )
            for store in stores
        ]
        status = pair[0].status()
        np.testing.assert_array_equal(status, pair[1].status())
        rows = np.flatnonzero(status == Status.OK)
        assert len(rows) == 13
        for name in pair[0].spec.arrays:
            exact, half = (arrays.over_all_videos(name)[rows].astype(float) for arrays in pair)
            each = tuple(range(1, exact.ndim))
            error = np.sqrt(((exact - half) ** 2).sum(each) / (exact**2).sum(each))
            assert error.max() < 0.05
