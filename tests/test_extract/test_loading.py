"""Networks made without numbers hold, to the bit, what they would hold if they were built first
and filled afterwards, in memory of their own."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from extract.branches import depthpro, internvideo2
from extract.branches.internvideo2 import Architecture, InternVideo2
from extract.errors import BadWeights
from extract.networks import position, weights

SMALL = Architecture(
    width=48, depth=2, heads=4, hidden=64, image=56, patch=14, frames=4, pool_heads=4, pool_width=32
)
OTHER = replace(SMALL, image=28, frames=8)
"""Trained on smaller pictures and more of them: its position table has to be resized."""


def seeded(module: nn.Module) -> weights.State:
    weights.seeded(module, 7)
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def built_first(module: nn.Module, state: weights.State) -> nn.Module:
    """The slow way: numbers drawn at random, then replaced."""
    module.load_state_dict({key: value.float() for key, value in state.items()})
    return module


def internvideo2_pair(
    before: Architecture, dtype: torch.dtype, *, separate: bool
) -> tuple[nn.Module, nn.Module]:
    wanted = replace(SMALL, separate_positions=separate)
    made = InternVideo2(replace(before, separate_positions=separate))
    state = {key: value.to(dtype) for key, value in seeded(made).items()}
    resized = {key: value.float() for key, value in state.items()}
    if separate:
        space, time = resized["pos_embed_spatial"], resized["pos_embed_temporal"]
        resized["pos_embed_spatial"] = position.resize_space(space, SMALL.side)
        resized["pos_embed_temporal"] = position.resize_time(time.transpose(0, 1), 4).transpose(
            0, 1
        )
    else:
        resized["pos_embed"] = position.resize_joint(resized["pos_embed"], 4, SMALL.side)
    now, head = internvideo2.from_state(state, SMALL, "small")
    assert not head
    return built_first(InternVideo2(wanted), resized), now


def depthpro_pair(dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    a = depthpro.PRESETS["tiny"]
    made = {key: x.to(dtype) for key, x in seeded(depthpro.DepthProEncoder(a)).items()}
    return built_first(depthpro.DepthProEncoder(a), made), depthpro.from_state(made, a)


PAIRS: dict[str, Callable[[torch.dtype], tuple[nn.Module, nn.Module]]] = {
    "as it is": lambda dtype: internvideo2_pair(SMALL, dtype, separate=False),
    "resized": lambda dtype: internvideo2_pair(OTHER, dtype, separate=False),
    "resized apart": lambda dtype: internvideo2_pair(OTHER, dtype, separate=True),
    "depthpro": depthpro_pair,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", PAIRS)
def test_networks_equal_those_that_were_built_first(name: str, dtype: torch.dtype) -> None:
    before, now = PAIRS[name](dtype)
    known, found = before.state_dict(), now.state_dict()
    assert list(known) == list(found)
    for key, value in known.items():
        assert torch.equal(value, found[key]), key
        assert (found[key].dtype, found[key].stride()) == (value.dtype, value.stride()), key
    for (name_before, x), (name_now, y) in zip(
        [*before.named_parameters(), *before.named_buffers()],
        [*now.named_parameters(), *now.named_buffers()], strict=True,
    ):  # fmt: skip
        assert (name_before, x.requires_grad, type(x)) == (name_now, y.requires_grad, type(y))


class Counting(nn.Module):
    """Parameters and a buffer that is counted in whole numbers, as BatchNorm has them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.one, self.two = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)


def unfilled() -> Counting:
    with weights.unfilled():
        return Counting()


def test_what_tensors_of_a_checkpoint_share_is_not_shared_by_the_network() -> None:
    """Tied keys, parts of a large tensor, one number for all, and another layout."""
    large = torch.randn(100, 4, 4)
    state = {
        "one.weight": large[3].T,
        "two.weight": large[3],
        "norm.weight": torch.tensor(2.0).expand(4),
        "norm.bias": torch.randn(4, dtype=torch.float64),
        "norm.running_mean": torch.randn(4).half(),
        "norm.running_var": torch.rand(4),
        "norm.num_batches_tracked": torch.tensor(7),
    }
    before, module = Counting(), unfilled()
    before.load_state_dict(state)
    weights.fill(module, state, model="a module")
    for key, value in module.state_dict().items():
        known = before.state_dict()[key]
        assert torch.equal(value, known), key
        assert (value.dtype, value.stride()) == (known.dtype, known.stride()), key
        assert value.untyped_storage().nbytes() == value.nbytes, key
    large.zero_()
    with torch.no_grad():
        module.one.weight.add_(1)
    assert torch.equal(module.two.weight, before.two.weight)
    assert torch.equal(module.one.weight, before.one.weight + 1)


def test_a_file_that_changes_later_changes_no_network(tmp_path: Path) -> None:
    state = seeded(Counting())
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pt")
    for path in (tmp_path / "w.safetensors", tmp_path / "w.pt"):
        module = unfilled()
        weights.fill(module, weights.read_state(path), model="a module")
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
        for key, value in module.state_dict().items():
            assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda state: state.pop("one.weight"), "missing: one.weight"),
        (lambda state: state.update({"three": torch.ones(1)}), "unexpected: three"),
        (lambda state: state.update({"norm.bias": torch.ones(5)}), r"norm.bias is \[5\]"),
        (lambda state: state["norm.bias"][2].fill_(float("nan")), "not finite: norm.bias"),
        (lambda state: state["one.weight"][1].fill_(float("-inf")), "not finite: one.weight"),
        (lambda state: state.update({"norm.bias": torch.full((4,), 1e300, dtype=torch.float64)}),
         "not finite: norm.bias"),
    ],
)  # fmt: skip
def test_both_ways_refuse_the_same(
    harm: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    state = seeded(Counting())
    harm(state)
    for module in (Counting(), unfilled()):
        with pytest.raises(BadWeights, match=message):
            weights.fill(module, state, model="a module")


def test_a_network_that_makes_numbers_itself_is_not_left_without_them() -> None:
    class Makes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)
            self.register_buffer("table", torch.ones(2), persistent=False)

    with weights.unfilled():
        module = Makes()
    with pytest.raises(RuntimeError, match="makes table itself"):
        weights.fill(module, nn.Linear(1, 1).state_dict(prefix="layer."), model="a module")


def test_making_a_network_without_numbers_loads_no_symbolic_algebra() -> None:
    """It took longer than all the rest."""
    code = (
        "import sys; from extract.networks import weights; "
        "from extract.branches.internvideo2 import InternVideo2, PRESETS\n"
        "with weights.unfilled(): InternVideo2(PRESETS['tiny'])\n"
        "sys.exit('torch.fx.experimental.symbolic_shapes' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
