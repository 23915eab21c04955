"""Rates and decay of every parameter, ours and the released code's."""

import json
from pathlib import Path

import pytest
import torch

from extract.branches.internvideo2 import Architecture, InternVideo2, InternVideo2Training
from extract.networks import simmim, weights
from extract.people.crop_training import CropTraining
from extract.people.person_crops import plan_of
from heads.finetuning.config import FinetuneConfig, Reach
from heads.finetuning.layer_decay import BACKBONE, parameter_groups, rule
from heads.finetuning.net import FinetuneNet
from heads.finetuning.processes import Processes
from heads.finetuning.readout import FusionReadout
from heads.parts.fusion_net import Layout, initial
from heads.zoo.fusion import FusionConfig

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((FOLDER / "optim.json").read_text())
ANOMALY = json.loads((FOLDER / "human-anomaly" / "optim.json").read_text())
VARIANT_A = Architecture(
    width=64, depth=3, heads=4, hidden=256, image=56, patch=14, pool_heads=4, pool_width=48
)
HEAD_NAMES = {
    "head.classes/weight": "head.weight", "head.classes/bias": "head.bias",
    "head.fc1/weight": "fc1.weight", "head.fc1/bias": "fc1.bias", "head.alpha": "alpha",
}  # fmt: skip


def net(config: FinetuneConfig) -> FinetuneNet:
    layout = Layout(width=64, attn=48, depth=32, hidden=32)
    head = initial(layout, 4, torch.Generator().manual_seed(0))
    reach = Reach.parse("end-to-end", 3)
    readout = FusionReadout(FusionConfig(), layout, head)
    return FinetuneNet(
        InternVideo2Training(InternVideo2(VARIANT_A)), readout, reach, config, Processes()
    )


def released_name(name: str, prefix: str) -> str:
    name = HEAD_NAMES.get(name, name.replace("head.fc_norm/", "backbone.fc_norm."))
    return name.replace("backbone.", prefix)


@pytest.mark.parametrize("official", [True, False])
def test_rates_and_decay_are_the_released_ones(*, official: bool) -> None:
    """With `official` those of the released training, else those that it means: what the same
    code does for InternVideo2 alone, whose names it knows."""
    which = "humansam" if official else "internvideo2_without_depth_branch"
    expected = GOLDEN[which]["parameters"]
    config = FinetuneConfig(
        layer_decay=GOLDEN["layer_decay"], weight_decay=GOLDEN["weight_decay"], official=official
    )
    seen = set()
    made = net(config)
    for name, parameter in made.named_parameters():
        known = released_name(name, "model1." if official else "")
        if not official and known in ("fc1.weight", "fc1.bias", "alpha"):
            assert rule(name, parameter, config, made.network).lr_scale == 1
            continue
        found = rule(name, parameter, config, made.network)
        told = (found.layer, found.lr_scale, found.weight_decay)
        wanted = expected[known]
        assert told == (wanted["layer_id"], wanted["lr_scale"], wanted["weight_decay"]), name
        seen.add(known)
    assert seen == expected.keys()


def test_groups_hold_every_parameter_once() -> None:
    config = FinetuneConfig()
    made = net(config)
    groups = list(parameter_groups(made.named_parameters(), config, made.network))
    tensors = [tensor for group in groups for tensor in group["params"]]  # type: ignore[attr-defined]
    assert {id(tensor) for tensor in tensors} == {id(tensor) for tensor in made.parameters()}
    assert len(tensors) == len(list(made.parameters()))
    assert sorted({group["lr_scale"] for group in groups}) == [  # type: ignore[type-var]
        config.layer_decay**power for power in (4, 3, 2, 1, 0)
    ]
    official = FinetuneConfig(official=True)
    assert len(list(parameter_groups(made.named_parameters(), official, made.network))) == 2


def test_an_anatomy_network_is_grouped_as_released() -> None:
    """Its tables of positions decay; the head that is put on it has the rule of its own."""
    with weights.unfilled():
        model = simmim.SimMim(simmim.B)
    network = CropTraining(model, plan_of("whole-face"), abnormal=0)
    own = network.own_head
    assert own is not None
    config = FinetuneConfig(layer_decay=ANOMALY["layer_decay"], weight_decay=0.05)
    for group in ANOMALY["groups_depth12"]:
        for name in group["params"]:
            ours = name if name in (own.weight, own.bias) else BACKBONE + name
            found = rule(ours, model.get_parameter(name), config, network)
            assert found.weight_decay == group["weight_decay"], name
            assert found.lr_scale == pytest.approx(group["lr_scale"], rel=1e-12), name
