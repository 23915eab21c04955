"""Every branch in `extract/branches/` keeps the same contract."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from extract.branch import Branch, BranchRequest, branch_names, load_branch
from extract.errors import BadSetting
from extract.networks.attention import attention, attention_backend
from extract.running.batching import Batcher, automatic_size
from extract.views.protocol import Protocol

SCORERS = {"appearance": "colours", "motion": "dis", "spatial": "dis"}
SMALL = {**SCORERS, "frames": "rgb"}
"""Presets that need no weights; `tiny` where nothing else is said."""
WITHOUT = [f"{name}={preset}" for name, preset in SMALL.items()]
NETWORKS = [f"{name}=tiny" for name in branch_names() if name not in SMALL]
NETWORKS += ["appearance=dinov2-tiny"]
NETWORK = ("precision=bfloat16", "dtype=float32")
SCORER = ("pairs=4", "dtype=float16")
SAYS = {"internvideo2": "made-up people", "depthpro": "made-up people"}
"""Where a branch's weights are from, if it has any."""
QUERIES = {
    "internvideo2=tiny": (*NETWORK, "random=true", "gelu=erf", "outputs=cls"),
    "depthpro=tiny": (*NETWORK, "random=true", "source=full-frame"),
    "appearance=dinov2-tiny": ("precision=bfloat16", "clip=tiny", *SCORER),
    **{f"{name}={preset}": SCORER for name, preset in SCORERS.items()},
    "frames=rgb": (),
}
"""Options that change what a branch says."""


def load(asked: str, query: str = "", device: str = "cpu") -> Branch:
    request = BranchRequest.parse(f"{asked}?{query}" if query else asked)
    return load_branch(
        BranchRequest(
            name=request.name, preset=request.preset, options=request.options, device=device,
            precision=request.precision,
        )
    )  # fmt: skip


def asked(branch: Branch) -> str:
    return f"{branch.name}={branch.preset}"


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Branch:
    """A branch with weights."""
    torch.manual_seed(0)
    return load(request.param)


@pytest.fixture(params=[*WITHOUT, *NETWORKS])
def branch(request: pytest.FixtureRequest) -> Branch:
    torch.manual_seed(0)
    return load(request.param)


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
        assert stored[name].std() > 0


def test_a_view_gets_the_same_bits_alone_and_in_any_company(branch: Branch) -> None:
    views = branch.example(4)
    together = branch.forward(views)
    shuffled = branch.forward(views[[2, 0, 3, 1]])
    for name, results in together.items():
        assert torch.equal(results, branch.forward(views)[name])
        assert torch.equal(results[2], shuffled[name][0])
        assert torch.equal(results[1:2], branch.forward(views[1:2])[name])


def test_different_views_get_different_numbers(branch: Branch) -> None:
    for results in branch.forward(branch.example(2)).values():
        assert not torch.allclose(results[0], results[1])


def test_prepare_travels_to_workers_and_makes_what_forward_takes(branch: Branch) -> None:
    output = pickle.loads(pickle.dumps(branch.prepare))  # noqa: S301 (our own bytes)
    prepare = output.load()
    random = np.random.default_rng(0)
    frames = {i: random.integers(0, 256, (90, 160, 3), np.uint8) for i in range(20)}
    protocols = (f"pairs-{output.pairs}",) if output.pairs else ("val", "test-2x3")
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


def test_the_spec_is_what_the_store_needs(branch: Branch) -> None:
    spec = branch.spec(12)
    assert spec.group == f"{branch.name}-{branch.preset}@{branch.fingerprint[:8]}"
    for name, array in branch.outputs.items():
        assert spec.arrays[name].shape == (12, *array.shape)
    says = "no weights" if asked(branch) in WITHOUT else SAYS.get(branch.name, "random numbers")
    assert says in str(spec.provenance["source"])


def test_the_fingerprint_follows_what_decides_the_numbers(branch: Branch) -> None:
    assert load(asked(branch)).fingerprint == branch.fingerprint
    queries = QUERIES.get(asked(branch), NETWORK)
    others = [load(asked(branch), query) for query in queries]
    assert len({branch.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1


def test_the_fingerprint_follows_one_weight(network: Branch) -> None:
    from extract.networks.weights import content_hash

    model = network.model  # type: ignore[attr-defined]
    assert content_hash(model.state_dict()) == network.decides["weights"]
    with torch.no_grad():
        next(iter(model.parameters())).view(-1)[0] += 1e-3
    assert content_hash(model.state_dict()) != network.decides["weights"]


def test_its_request_makes_it_again_from_another_folder(
    branch: Branch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_branch(branch.request).fingerprint == branch.fingerprint


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


def test_neither_batch_size_nor_attention_backend_is_in_the_fingerprint(branch: Branch) -> None:
    with attention_backend("sdpa"):
        assert load(asked(branch)).fingerprint == branch.fingerprint
    assert Batcher(branch, 3).branch.fingerprint == branch.fingerprint


def test_half_precision_is_near(network: Branch) -> None:
    views = network.example(1)
    exact = network.forward(views)
    for name, numbers in load(asked(network), "precision=bfloat16").forward(views).items():
        error = (numbers - exact[name]).norm() / exact[name].norm()
        assert float(error) < 0.03


def test_numbers_too_large_for_their_type_are_an_error(branch: Branch) -> None:
    half = dict.fromkeys(SCORERS, "dtype=float16")
    branch = load(asked(branch), half.get(branch.name, ""))
    results = branch.forward(branch.example(1))
    name = next(iter(branch.outputs))
    results[name] = results[name] * 1e9
    known = r"uint8 \(" if branch.name == "frames" else "float16.*dtype=float32"
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


def test_flash_attention_cannot_be_forced_where_it_does_not_apply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    q = torch.randn(1, 2, 1, 8)
    with (
        attention_backend("flash"),
        pytest.raises(BadSetting, match="needs half precision on CUDA"),
    ):
        attention(q, q, q)
    monkeypatch.setenv("TELLTALE_ATTENTION", "fast")
    with pytest.raises(BadSetting, match="have: auto, flash, sdpa"):
        attention(q, q, q)


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
    assert cpu.fingerprint == cuda.fingerprint
    assert automatic_size(cuda) >= 8
    views = cpu.example(3)
    for output, numbers in cuda.forward(views.cuda()).items():
        torch.testing.assert_close(numbers.cpu(), cpu.forward(views)[output], atol=1e-3, rtol=1e-3)
