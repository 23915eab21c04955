"""Spatial and temporal kernels in turns, by two optimisers, over a long run."""

import json
from pathlib import Path

import pytest
import torch

from extract.networks import resnet3d, weights
from heads.errors import BadSetting
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.optimisers import Optimisers
from tests.test_heads.cube import Cube, CubeTraining

GOLDEN = Path(__file__).parents[1] / "golden" / "altfreezing"
STEPS = 65


def config(**changes: object) -> FinetuneConfig:
    plain = {"alternate": "spatial:temporal=1:20", "epochs": STEPS, "clip": 0.0, "warmup": 0.0}
    return FinetuneConfig(**{**plain, **changes})  # type: ignore[arg-type]


def moved(how: FinetuneConfig) -> list[list[int]]:
    """Per step whether temporal kernels, spatial kernels and all others moved."""
    torch.manual_seed(0)
    network = CubeTraining(Cube())
    named = {f"backbone.{name}": tensor for name, tensor in network.model.named_parameters()}
    optimisers = Optimisers(named, network, how, steps_an_epoch=1)
    kinds = {name: network.kind_of(name.removeprefix("backbone.")) for name in named}
    found = []
    for step in range(STEPS):
        before = {name: tensor.detach().clone() for name, tensor in named.items()}
        for tensor in named.values():
            tensor.grad = torch.randn_like(tensor)
        optimisers.step(step)
        assert all(tensor.grad is None for tensor in named.values())
        same = {name: torch.equal(before[name], tensor) for name, tensor in named.items()}
        found.append([
            int(not any(same[name] for name, own in kinds.items() if own == kind))
            for kind in ("temporal", "spatial", "both")
        ])  # fmt: skip
        assert all(
            len({same[n] for n in named if kinds[n] == kind}) == 1 for kind in kinds.values()
        )
    return found


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_both_kinds_move_in_their_turns_to_the_end_of_a_long_run(optimiser: str) -> None:
    """One step for space, twenty for time. DeepfakeBench means the same and does neither of what
    its two ways of forgetting gradients are recorded to do."""
    intended = [[int(step % 21 != 0), int(step % 21 == 0), 1] for step in range(STEPS)]
    assert moved(config(optimiser=optimiser)) == intended
    recorded = json.loads((GOLDEN / "deepfakebench_schedule.json").read_text())
    theirs = [rows for name, rows in recorded.items() if name.startswith("zero_grad")]
    assert [len(rows) for rows in theirs] == [STEPS, STEPS]
    assert intended not in theirs
    assert [sum(row[1] for row in rows[1:]) for rows in theirs] == [0, STEPS - 1]


def test_the_optimisers_hold_what_the_released_ones_hold() -> None:
    """Every tensor of the full network in the group of its kind, what is neither in both."""
    golden = json.loads((GOLDEN / "grouping.json").read_text())
    with weights.unfilled():
        model = resnet3d.ResNet3d()

    class Network(CubeTraining):
        def kind_of(self, name: str) -> resnet3d.Kind:
            return model.kind_of(name)

    named = {f"backbone.{name}": tensor for name, tensor in model.named_parameters()}
    how = config(optimiser="sgd", decay_all=True, weight_decay=1e-4, layer_decay=1.0)
    optimisers = Optimisers(named, Network(Cube()), how, steps_an_epoch=1)
    for kind in ("temporal", "spatial"):
        wanted = {row[0] for row in golden["rows"] if row[2] in (kind, "both")}
        assert {name.removeprefix("backbone.") for name in optimisers.names(kind)} == wanted
        assert optimisers.decays(kind) == {1e-4}  # batch norms too, as released


def test_a_network_without_such_kernels_is_refused() -> None:
    network = CubeTraining(Cube())
    stem = {"backbone.stem.weight": network.model.stem.weight}
    with pytest.raises(BadSetting, match="no spatial and no temporal kernel"):
        Optimisers(stem, network, config(), 1)
    with pytest.raises(BadSetting, match="give one of them"):
        config(adapter_turns="spatial:temporal=1:1")
