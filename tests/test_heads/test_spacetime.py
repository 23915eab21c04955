"""Spatial and temporal weights in turns."""

import numpy as np
import pytest
import torch
from torch import Tensor

from heads.errors import BadSetting, BadTable
from heads.training.alternate import Alternation
from heads.training.model import Batch
from heads.zoo.spacetime import SpaceTime, SpaceTimeConfig, SpaceTimeModel, grid
from tests.test_heads.tables import CLASSES, WIDTH, table


def model(alternate: str | None) -> SpaceTimeModel:
    torch.set_num_threads(1)
    head = SpaceTime(SpaceTimeConfig(alternate=alternate, channels=8), CLASSES)
    found = table(videos=8)
    made = head.new_model(found, 0, "cpu")
    made.tables = {0: found}
    return made


def gradients(made: SpaceTimeModel) -> dict[str, float]:
    """After one step's backward: the largest gradient of each kind, 0 where there is none."""
    rows = np.arange(8)
    batch = Batch(x=torch.zeros(8, 12), rows=rows, views=rows * 0)
    for parameter in made.net.parameters():
        parameter.grad = None
    made.training_logits(batch).square().sum().backward()  # type: ignore[no-untyped-call]
    kinds = {kind: made.net.kind(kind) for kind in ("spatial", "temporal")}
    return {kind: max(map(largest, tensors)) for kind, tensors in kinds.items()}


def largest(parameter: Tensor) -> float:
    return 0.0 if parameter.grad is None else float(parameter.grad.abs().max())


def test_frozen_weights_have_no_gradient_and_do_not_move() -> None:
    made = model("spatial:temporal=1:3")
    decayed, plain = made.parameters()
    optimiser = torch.optim.AdamW([*decayed, *plain], lr=0.1, weight_decay=0.1)
    turns = []
    for _ in range(9):
        before = {
            kind: [t.clone() for t in made.net.kind(kind)] for kind in ("spatial", "temporal")
        }
        found = gradients(made)
        optimiser.step()
        moved = {
            kind: not all(map(torch.equal, before[kind], made.net.kind(kind))) for kind in before
        }
        assert {kind: size > 0 for kind, size in found.items()} == moved
        turns.append([kind for kind in before if moved[kind]])
    assert turns == [["spatial"], *[["temporal"]] * 3] * 2 + [["spatial"]]
    assert made.net.classes.weight.grad is not None


def test_without_alternation_both_learn() -> None:
    found = gradients(model(None))
    assert min(found.values()) > 0


def test_a_temporal_kernel_sees_other_frames_and_a_spatial_one_does_not() -> None:
    made = model(None)
    layer = made.net.layers[0]
    x = torch.randn(1, 8, 8, 5, 5, requires_grad=True)
    for kind, frames, places in (("spatial", 1, 9), ("temporal", 3, 1)):
        convolution = getattr(layer, kind)
        (found,) = torch.autograd.grad(convolution(x)[0, :, 4, 2, 2].sum(), x)
        touched = found[0].abs().sum(0) > 0
        assert int(touched.any(-1).any(-1).sum()) == frames, kind
        assert int(touched.any(0).sum()) == places, kind


def test_tokens_become_frames_rows_and_columns() -> None:
    tokens = torch.arange(8 * 16).float()[None, :, None].expand(1, -1, WIDTH)
    found = grid(tokens)
    assert found.shape == (1, 8, 4, 4, WIDTH)
    assert float(found[0, 3, 2, 1, 0]) == 3 * 16 + 2 * 4 + 1
    with pytest.raises(BadTable, match="8 square frames"):
        grid(tokens[:, :100])


@pytest.mark.parametrize("text", ["", "1:20", "spatial:spatial=1:2", "spatial:temporal=0:1"])
def test_alternations_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="give spatial:temporal=1:20"):
        Alternation.parse(text)
    assert Alternation.parse("temporal:spatial=2:1").learning(2) == "spatial"
