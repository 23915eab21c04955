"""Every branch in `extract/branches/` keeps the same contract."""

import copy
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from extract.branch import Branch, BranchRequest, branch_names, load_branch
from extract.encoders.branch_parts import PRESENT
from extract.errors import BadSetting
from extract.networks.attention import attention, attention_backend
from extract.people.person_view import PersonView
from extract.running.batching import Batcher, automatic_size
from extract.views.protocol import Protocol
from tests.contracts.branches import (
    FRAME_DETECTORS,
    NETWORKS,
    SAYS,
    SCORERS,
    WITHOUT,
    asked,
    load,
)


def test_there_are_branches() -> None:
    assert {"appearance", "depthpro", "frames", "internvideo2", "motion", "spatial"} <= set(
        branch_names()
    )


def test_outputs_are_as_declared(branch: Branch) -> None:
    results = branch.forward(branch.example(2))
    assert set(results) == set(branch.outputs)
    for name, array in branch.outputs.items():
        assert results[name].shape == (2, *array.shape)
        assert not results[name].requires_grad
    stored = branch.numpy(results)
    for name, array in branch.outputs.items():
        assert stored[name].dtype == array.dtype
        assert stored[name].std() > 0 or name == PRESENT


def test_a_view_gets_the_same_bits_alone_and_in_any_company(branch: Branch) -> None:
    views = branch.example(4)
    together = branch.forward(views)
    shuffled = branch.forward(views[[2, 0, 3, 1]])
    for name, results in together.items():
        assert torch.equal(results, branch.forward(views)[name])
        assert torch.equal(results[2], shuffled[name][0])
        assert torch.equal(results[1:2], branch.forward(views[1:2])[name])


def test_different_views_get_different_numbers(branch: Branch) -> None:
    for name, results in branch.forward(branch.example(2)).items():
        assert not torch.allclose(results[0], results[1]) or name == PRESENT


def test_prepare_travels_to_workers_and_makes_what_forward_takes(branch: Branch) -> None:
    output = pickle.loads(pickle.dumps(branch.prepare))  # noqa: S301 (our own bytes)
    prepare = output.load()
    random = np.random.default_rng(0)
    frames = {i: random.integers(0, 256, (90, 160, 3), np.uint8) for i in range(20)}
    pairs = (f"pairs-{output.pairs}",)
    protocols: tuple[str, ...] = pairs if output.pairs else ("val", "test-2x3")
    protocols = ("val", "frames-8@all", "windows-2x8") if output.frames else protocols
    for protocol in protocols:
        views = Protocol.parse(protocol).views("clip.mp4", 20)
        rows = prepare(frames, views)
        example = branch.example(1)
        assert rows.shape == (len(views), *example.shape[1:]) == (len(views), *output.shape)
        assert rows.dtype == output.dtype
        assert torch.from_numpy(rows).dtype == example.dtype
        assert np.array_equal(rows, branch.prepare.load()(frames, views))
        results = branch.forward(torch.from_numpy(rows[:1]))
        assert all(torch.isfinite(numbers).all() for numbers in results.values())


def test_of_a_person_it_is_given_what_it_would_be_of_a_video_of_the_person_alone(
    branch: Branch, tmp_path: Path
) -> None:
    if "boxes" in branch.request.options:
        pytest.skip("it looks at people already")
    boxes = tmp_path / "boxes.json"
    row = {"frame": 3, "kind": "person", "box": [20, 10, 80, 70]}
    boxes.write_text(json.dumps({"videos": {"clip.mp4": [row]}}))
    look = PersonView.asked({"crop": "person", "boxes": str(boxes), "margin": "0"})
    output = look.prepared(branch.prepare, says_present=False)
    random = np.random.default_rng(0)
    frames = {i: random.integers(0, 256, (90, 160, 3), np.uint8) for i in range(20)}
    alone = {number: frame_hwc[10:70, 20:80] for number, frame_hwc in frames.items()}
    protocol = f"pairs-{output.pairs}" if output.pairs else "val"
    views = Protocol.parse(protocol).views("clip.mp4", 20)
    found = pickle.loads(pickle.dumps(output)).load()(frames, views)  # noqa: S301 (our own bytes)
    assert np.array_equal(found, branch.prepare.load()(alone, views))
    assert output.name != branch.prepare.name


def test_the_spec_is_what_the_store_needs(branch: Branch) -> None:
    (spec,) = branch.offer.specs(12)
    assert spec.group == f"{branch.name}-{branch.preset}@{branch.offer.fingerprint[:8]}"
    for name, array in branch.outputs.items():
        assert spec.arrays[name].shape == (12, *array.shape)
    says = "no weights" if asked(branch) in WITHOUT else SAYS.get(branch.name, "random numbers")
    says = "processor, checked" if branch.preset == "hf" else says
    assert says in str(spec.provenance["source"])


def test_the_spec_says_which_libraries_made_the_numbers(branch: Branch) -> None:
    said = branch.offer.spec(list(branch.outputs), 1).provenance["libraries"]
    assert said["torch"] == torch.__version__
    assert said["opencv"] == cv2.__version__
    assert set(said) == {"torch", "numpy", "opencv", "pillow", "pyav", "ffmpeg"}
    assert {"libavcodec", "libavformat", "libswscale"} <= set(said["ffmpeg"])
    other = copy.copy(branch)
    other.provenance = {"source": "elsewhere"}
    assert other.offer.fingerprints == branch.offer.fingerprints


def test_its_request_makes_it_again_from_another_folder(
    branch: Branch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_branch(branch.request).offer.fingerprint == branch.offer.fingerprint


def test_requests_name_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.pt").touch()
    asked = BranchRequest.parse("appearance=dinov2-b14:w.pth?clip=clip.pt&pairs=4")
    whole = asked.with_whole_paths()
    assert whole.weights == tmp_path / "w.pth"
    assert whole.options == {"clip": str(tmp_path / "clip.pt"), "pairs": "4"}
    assert BranchRequest.parse("appearance=dinov2-tiny?clip=tiny").with_whole_paths().options == {
        "clip": "tiny"
    }


def test_frames_take_no_precision() -> None:
    with pytest.raises(BadSetting, match="keeps bytes"):
        load("frames=rgb", "precision=bfloat16")


def test_numbers_too_large_for_their_type_are_an_error(branch: Branch) -> None:
    names = (*SCORERS, *FRAME_DETECTORS, "altfreezing", "image", "video")
    half = dict.fromkeys(names, "dtype=float16")
    branch = load(asked(branch), half.get(branch.name, ""))
    results = branch.forward(branch.example(1))
    name = next(iter(branch.outputs))
    results[name] = results[name] * 1e9
    known = r"uint8 \(" if branch.name in ("faces", "frames") else "float16.*dtype=float32"
    with pytest.raises(BadSetting, match=rf"do not fit {known}"):
        branch.numpy(results)


def test_batches_do_not_change_numbers_and_survive_out_of_memory(branch: Branch) -> None:
    views = branch.example(5)
    expected = branch.forward(views)
    batcher = Batcher(branch, 4)
    compute, refused = branch.forward, []

    def small_memory(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        if len(batch) > 1:
            refused.append(len(batch))
            raise torch.OutOfMemoryError
        return compute(batch)

    branch.forward = small_memory  # type: ignore[method-assign]
    results = batcher.run(views)
    assert refused == [4, 2]
    assert batcher.size == 1
    for name, numbers in results.items():
        assert torch.equal(numbers, expected[name])


def test_out_of_memory_with_one_view_is_raised(branch: Branch) -> None:
    def no_memory(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        raise torch.OutOfMemoryError

    branch.forward = no_memory  # type: ignore[method-assign]
    with pytest.raises(torch.OutOfMemoryError):
        Batcher(branch, 2).run(branch.example(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_is_softmax_attention(dtype: torch.dtype) -> None:
    q, k, v = torch.randn(3, 2, 17, 4, 8, dtype=torch.float64).to(dtype)
    exact = torch.einsum("bnhd,bmhd->bhnm", q.double(), k.double()) / 8**0.5
    exact = torch.einsum("bhnm,bmhd->bnhd", exact.softmax(-1), v.double())
    error = (attention(q, k, v).double() - exact).abs().max()
    assert float(error) < (1e-6 if dtype is torch.float32 else 0.02)


def test_flash_attention_cannot_be_forced_where_it_does_not_apply() -> None:
    q = torch.randn(1, 2, 1, 8)
    with (
        attention_backend("flash"),
        pytest.raises(BadSetting, match="needs half precision on CUDA"),
    ):
        attention(q, q, q)


def test_a_forced_backend_reaches_the_threads_that_feed_a_device() -> None:
    q = torch.randn(1, 2, 1, 8)
    with (
        attention_backend("flash"),
        ThreadPoolExecutor(1) as threads,
        pytest.raises(BadSetting, match="needs half precision on CUDA"),
    ):
        threads.submit(attention, q, q, q).result()
    assert attention(q, q, q).shape == q.shape  # and no longer than it was forced


def test_the_environment_chooses_a_backend_for_the_process() -> None:
    code = "import torch; from extract.networks.attention import attention as f; "
    code += "f(*[torch.ones(1, 1, 1, 8)] * 3)"
    said = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TELLTALE_ATTENTION": "fast"},
        capture_output=True, text=True, check=False,
    ).stderr  # fmt: skip
    assert "Attention 'fast' unknown; have: auto, flash, sdpa" in said


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_flash_attention_agrees_on_cuda(dtype: torch.dtype) -> None:
    pytest.importorskip("flash_attn")
    q, k, v = torch.randn(3, 2, 129, 4, 64, device="cuda", dtype=dtype)
    with attention_backend("flash"):
        flash = attention(q, k, v)
    with attention_backend("sdpa"):
        torch.testing.assert_close(flash, attention(q, k, v), atol=2e-2, rtol=2e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("text", [*WITHOUT, *NETWORKS])
def test_cuda_agrees_with_the_cpu(text: str) -> None:
    cpu, cuda = load(text), load(text, "precision=float32", device="cuda")
    assert cpu.offer.fingerprint == cuda.offer.fingerprint
    assert automatic_size(cuda) >= 8
    views = cpu.example(3)
    for output, numbers in cuda.forward(views.cuda()).items():
        torch.testing.assert_close(numbers.cpu(), cpu.forward(views)[output], atol=1e-3, rtol=1e-3)
