"""What makes networks fast on a GPU changes no numbers, and costs no run when it fails."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch.nn import functional

from extract.branch import BranchRequest, Precision, load_branch
from extract.errors import BadSetting, DoesNotFit
from extract.networks.attention import before_hopper
from extract.networks.compiled import compile_blocks, leave_blocks
from extract.networks.vit import AttentionPool, Block, BlockConfig, Mlp, linear_gelu, patches
from extract.running import quickening
from extract.running.quickening import Quickening
from tests.test_extract.test_batching import Echo

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # the compiler's
VIEWS = torch.arange(5.0)[:, None]
BLOCK = BlockConfig(width=8, heads=2, hidden=16, gelu="tanh")


class OnAGpu(Echo):
    """Says that it is on one, and notes how many views come at a time."""

    precision: Precision = "bfloat16"  # type: ignore[assignment]
    device = torch.device("cuda")

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__(self.answer)
        self.model = nn.Sequential(Block(BLOCK), Block(BLOCK))
        self.seen: list[int] = []
        self._fails = fails

    @property
    def compiled(self) -> bool:
        return any(block._compiled_call_impl is not None for block in self.model)

    def answer(self, batch: Tensor) -> dict[str, Tensor]:
        if self.compiled and self._fails is not None:
            raise self._fails
        self.seen.append(len(batch))
        return {"number": batch.clone()}


def pool() -> AttentionPool:
    torch.manual_seed(0)
    made = AttentionPool(12, 3, 10)
    for tensor in made.parameters():
        nn.init.normal_(tensor, std=0.5)
    return made


def projected(made: AttentionPool, tokens_bnd: Tensor) -> tuple[Tensor, Tensor]:
    """The same as it is usually written: keys and values of all tokens. Result and weights."""
    cross = made.cross_attn
    rows = (made.norm1_q(tokens_bnd.mean(1, keepdim=True)), made.norm1_k(tokens_bnd))
    parts = [
        functional.linear(x_bnd, layer.weight, bias).reshape(3, -1, 3, 4).transpose(1, 2)
        for x_bnd, layer, bias in (
            (rows[0], cross.q, cross.q_bias),
            (rows[1], cross.k, cross.k_bias),
            (made.norm1_v(tokens_bnd), cross.v, cross.v_bias),
        )
    ]
    query, keys, values = parts
    weights = (query @ keys.mT / 2).softmax(-1)
    result: Tensor = cross.proj((weights @ values).transpose(1, 2).flatten(2))
    return result[:, 0], weights.mean(1)[:, 0]


def test_the_pool_gives_what_keys_and_values_of_all_tokens_give() -> None:
    made, tokens = pool(), torch.randn(3, 7, 12)
    expected, weights = projected(made, tokens)
    torch.testing.assert_close(made(tokens), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made.weights(tokens), weights, rtol=1e-5, atol=1e-6)
    gradients = [
        torch.autograd.grad(result.square().sum(), list(made.parameters()))
        for result in (made(tokens), expected)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(28, 42), (33, 30)])
def test_patches_are_the_convolution(size: tuple[int, int]) -> None:
    layer = nn.Conv3d(3, 5, (1, 14, 14), stride=(1, 14, 14))
    clips = torch.randn(2, 3, 4, *size)
    expected = layer(clips).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patches(clips, layer), expected, rtol=1e-5, atol=1e-5)
    flat = nn.Conv2d(3, 5, 14, stride=14)
    expected = flat(clips[:, :, 0]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patches(clips[:, :, :1], flat), expected, rtol=1e-5, atol=1e-5)


def test_gelu_in_one_kernel_with_its_layer_is_gelu_in_tanhs_form() -> None:
    mlp, x = Mlp(BLOCK), torch.randn(2, 5, 8)
    expected = functional.gelu(mlp.fc1(x), approximate="tanh")
    found = linear_gelu(x, mlp.fc1, torch.float32)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("name", ["internvideo2", "depthpro"])
def test_blocks_compile_without_a_break_and_give_the_same(name: str) -> None:
    branch = load_branch(BranchRequest.parse(f"{name}=tiny"))
    views = branch.example(1)
    before = branch.forward(views)
    torch.compiler.reset()
    model = branch.model  # type: ignore[attr-defined]
    assert compile_blocks(model, backend="eager", fullgraph=True) > 2
    for output, numbers in branch.forward(views).items():
        torch.testing.assert_close(numbers, before[output])
    leave_blocks(model)
    assert all(torch.equal(x, before[output]) for output, x in branch.forward(views).items())


def test_a_long_run_compiles_and_fills_its_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    branch = OnAGpu()
    run = Quickening(branch, "auto")
    run.forward(VIEWS[:3], 4)
    now[0] += quickening.PATIENCE - 1
    run.forward(VIEWS[:3], 4)
    assert branch.seen == [3, 3]
    now[0] += 2
    assert torch.equal(run.forward(VIEWS[:3], 4)["number"], VIEWS[:3])
    assert branch.compiled
    assert torch.equal(run.forward(VIEWS[:4], 4)["number"], VIEWS[:4])
    assert branch.seen == [3, 3, 4, 4]


def test_what_cannot_be_compiled_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    assert issubclass(TorchDynamoException, RuntimeError)  # so nobody has to load it to catch it
    branch = OnAGpu(RuntimeError("no C compiler\nand much more"))
    run = Quickening(branch, "always")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert torch.equal(run.forward(VIEWS, 8)["number"], VIEWS)
    assert branch.seen == [5, 5]
    (said,) = caplog.messages
    assert said == "echo: goes on without compiled blocks: no C compiler"


def test_a_compiler_that_cannot_be_loaded_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_network: nn.Module) -> int:
        raise ImportError("no triton")

    monkeypatch.setattr(quickening, "compile_blocks", refuse)
    run = Quickening(OnAGpu(), "always")
    with caplog.at_level(logging.WARNING):
        assert torch.equal(run.forward(VIEWS, 8)["number"], VIEWS)
        run.forward(VIEWS, 8)
    assert caplog.messages == ["echo: goes on without compiled blocks: no triton"]


def test_too_little_memory_is_no_reason_to_give_up_compiling() -> None:
    branch = OnAGpu(torch.OutOfMemoryError())
    run = Quickening(branch, "always")
    with pytest.raises(torch.OutOfMemoryError):
        run.forward(VIEWS, 8)
    assert run.compiled


def test_never_on_a_cpu_in_float32_or_when_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, told, cpu = OnAGpu(), OnAGpu(), OnAGpu()
    whole.precision = "float32"
    cpu.device = torch.device("cpu")
    monkeypatch.setenv("TELLTALE_COMPILE", "always")
    for branch, when in ((whole, None), (cpu, None), (told, "never")):
        Quickening(branch, when).forward(VIEWS, 8)  # type: ignore[arg-type]
        assert branch.seen == [5]
        assert not branch.compiled
    monkeypatch.setenv("TELLTALE_COMPILE", "perhaps")
    with pytest.raises(BadSetting, match="have: auto, always, never"):
        Quickening(OnAGpu())


def test_cards_since_hopper_use_torchs_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = before_hopper.__wrapped__
    for capability, before in (((8, 0), True), ((8, 9), True), ((9, 0), False), ((10, 0), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert asked(torch.device("cuda")) is before


def test_halves_are_fetched_and_what_does_not_fit_is_fetched_whole() -> None:
    branch = OnAGpu()
    branch.device = torch.device("mps")  # another memory, without CUDA's streams
    fetched = branch.fetched({"number": VIEWS.bfloat16()})
    assert fetched["number"].dtype == torch.float16
    assert branch.numpy(fetched)["number"].tolist() == VIEWS.tolist()
    too_large = branch.fetched({"number": VIEWS * 1e6})
    assert too_large["number"].dtype == torch.float32
    with pytest.raises(DoesNotFit, match=r"largest 4e\+06"):
        branch.numpy(too_large)
    with pytest.raises(DoesNotFit, match="do not fit float16"):
        branch.numpy({"number": torch.tensor([[float("nan")]], dtype=torch.float16)})


def test_several_networks_in_several_sizes_of_batches_stay_compiled() -> None:
    """Torch gives up after eight programs of one function, whoever's they are."""
    programs = []

    def backend(program: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        programs.append(program)
        return program.forward

    torch.compiler.reset()
    for heads in (1, 2, 4):
        block = Block(replace(BLOCK, heads=heads))
        compile_blocks(nn.Sequential(block), backend=backend)
        for size in (4, 3, 2):
            block(torch.zeros(size, 3, 8))
    torch.compiler.reset()
    assert len(programs) == 9
