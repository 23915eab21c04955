"""AltFreezing's network: golden numbers, official names, and which kernels are of which kind."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.parity.checking import kind_of
from extract.errors import BadWeights
from extract.networks import resnet3d, weights
from extract.networks.resnet3d import ResNet3d

GOLDEN = Path("tests/golden/altfreezing")
SMALL = {"width": 8, "frames": 8, "image": 64}


@pytest.fixture(scope="module")
def state() -> weights.State:
    return load_file(GOLDEN / "i3d_tiny_weights.safetensors")


@pytest.mark.parametrize("name", ["i3d_tiny", "grouping"])
def test_the_network_is_the_released_one(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    described = json.loads(path.read_text())
    rows = kind_of(path, described)
    assert rows is not None
    assert [row.quantity for row in rows(path, described) if not row.ok] == []


def test_official_wrappers_and_prefixes_are_taken_off(state: weights.State, tmp_path: Path) -> None:
    wrapped = {"state_dict": {f"module.network.{key}": value for key, value in state.items()}}
    path = tmp_path / "official.pth"
    torch.save(wrapped, path)
    model = resnet3d.from_state(weights.read_state(path), **SMALL)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("change", ["missing", "unknown", "misshapen"])
def test_a_checkpoint_that_does_not_fit_is_refused(state: weights.State, change: str) -> None:
    name = "resnet.s4.pathway0_res5.branch2.a.weight"
    other = dict(state)
    if change == "missing":
        del other[name]
    elif change == "unknown":
        other["resnet.s4.pathway0_res6.branch2.a.weight"] = state[name]
    else:
        other[name] = state[name][..., 0]
    with pytest.raises(BadWeights, match="pathway0_res"):
        resnet3d.from_state(other, **SMALL)


def test_a_larger_picture_has_a_logit_at_every_place_the_pool_fits() -> None:
    model = resnet3d.random(1, **SMALL)
    clip_ncthw = torch.randn(1, 3, 8, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        last = model.stages(clip_ncthw)["s5"]
        vectors = model.vectors(clip_ncthw)
    assert last.shape[2:] == (4, 3, 3)
    corner = last[..., 0:2, 1:3].mean((2, 3, 4))
    torch.testing.assert_close(vectors[:, 1], corner)
    assert model.logits(vectors).shape == (1, 4)


def test_layers_are_counted_from_the_stem_to_the_head() -> None:
    with weights.unfilled():
        model = ResNet3d()
    layers = [model.layer_of(name) for name, _ in model.named_parameters()]
    assert layers == sorted(layers)
    assert set(layers) == set(range(18))
    assert model.layer_of("resnet.s3.pathway0_res1.branch2.b.weight") == 5
    assert model.layer_of("resnet.head.projection.bias") == model.depth == 17


def test_a_network_to_train_starts_as_shortcuts() -> None:
    model = ResNet3d(**SMALL)
    model.initialise(seed=3)
    twin = ResNet3d(**SMALL)
    twin.initialise(seed=3)
    assert torch.equal(
        model.resnet["s2"].get_parameter("pathway0_res1.branch2.a.weight"),
        twin.resnet["s2"].get_parameter("pathway0_res1.branch2.a.weight"),
    )
    x_ncthw = torch.rand(1, 32, 4, 8, 8)
    block = model.resnet["s2"].get_submodule("pathway0_res1")
    with torch.no_grad():
        torch.testing.assert_close(block(x_ncthw), x_ncthw)
