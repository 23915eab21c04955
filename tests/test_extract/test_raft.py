"""RAFT against its authors' numbers and names, and its two unusual steps against plain loops."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from extract.errors import BadWeights
from extract.networks import raft, weights

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def large() -> raft.Raft:
    """The weights of the golden file: nothing is 0 or 1 that a mistake could hide behind."""
    model = raft.Raft(raft.LARGE, 4).eval()
    weights.seeded(model, 11)
    generator = torch.Generator().manual_seed(5)
    for name, numbers in sorted(model.named_buffers()):
        if name.endswith("running_mean"):
            numbers.normal_(0, 0.3, generator=generator)
        elif name.endswith("running_var"):
            numbers.uniform_(0.5, 2, generator=generator)
    return model


def official(model: raft.Raft) -> weights.State:
    """As the authors save it: in a wrapper, and shared norms under both of their names."""
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    twice = {
        name.replace("downsample.1", "norm3"): value
        for name, value in state.items()
        if "downsample.1" in name
    }
    return {**state, **twice}


def torchvision(model: raft.Raft) -> weights.State:
    """As torchvision names the same."""
    renamed: weights.State = {}
    for original, value in model.state_dict().items():
        *place, layer, kind = original.split(".")
        if place[0] == "update_block":
            name = torchvision_update(original)
        else:
            side = {"fnet": "feature_encoder", "cnet": "context_encoder"}[place[0]]
            inner = ".".join([side, *place[1:]])
            if len(place) == 1:
                shown = {"conv1": "convnormrelu.0", "norm1": "convnormrelu.1", "conv2": "conv"}
                name = f"{side}.{shown[layer]}.{kind}"
            elif "downsample" in place:
                name = f"{inner}.{layer}.{kind}"
            else:
                slot = "0" if layer.startswith("conv") else "1"
                name = f"{inner}.convnormrelu{layer[-1]}.{slot}.{kind}"
        renamed[name] = value
    return renamed


def torchvision_update(original: str) -> str:
    _, part, *rest = original.split(".")
    kind = rest[-1]
    if part == "mask":
        return f"mask_predictor.{'convrelu.0' if rest[0] == '0' else 'conv'}.{kind}"
    if part == "gru":
        return f"update_block.recurrent_block.convgru{rest[0][-1]}.{rest[0][:-1]}.{kind}"
    if part == "encoder":
        long = rest[0].replace("convc", "convcorr").replace("convf", "convflow")
        return f"update_block.motion_encoder.{long}.0.{kind}"
    return original


def test_names_shapes_and_size_are_the_published_ones(large: raft.Raft) -> None:
    said = json.loads((GOLDEN / "raft_large.json").read_text())
    assert {name: list(value.shape) for name, value in official(large).items()} == said["shapes"]
    assert sum(parameter.numel() for parameter in large.parameters()) == 5_257_536


@torch.no_grad()
def test_flow_both_ways_is_the_authors(large: raft.Raft) -> None:
    expected = load_file(GOLDEN / "raft_large.safetensors")
    there, back = large(expected["first"].float(), expected["second"].float())
    assert there.shape == back.shape == (1, 2, *expected["first"].shape[2:])
    for name, flow in (("there", there), ("back", back)):
        torch.testing.assert_close(flow[..., ::4, ::4], expected[name], atol=5e-4, rtol=0)


@pytest.mark.parametrize("names", [official, torchvision])
def test_both_kinds_of_checkpoints_load(large: raft.Raft, tmp_path: Path, names: object) -> None:
    state = names(large)  # type: ignore[operator]
    torch.save(state, tmp_path / "raft-things.pth")
    read = raft.read(tmp_path / "raft-things.pth")
    assert weights.content_hash(read.state_dict()) == weights.content_hash(large.state_dict())
    assert not read.training
    assert read.iterations == raft.ITERATIONS


def test_another_networks_checkpoint_is_refused(large: raft.Raft, tmp_path: Path) -> None:
    state = {name: value.contiguous() for name, value in large.state_dict().items()}
    del state["update_block.gru.convz1.bias"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(BadWeights, match=r"not RAFT.*missing: update_block.gru.convz1.bias"):
        raft.read(tmp_path / "w.safetensors")
    with pytest.raises(BadWeights, match="not a small one"):
        raft.from_state(raft.tiny().state_dict())


def test_correlations_are_looked_up_where_pixels_are_believed_to_be() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(2, 1, 5, 8, 9, dtype=torch.float64)
    places = torch.rand(1, 2, 8, 9, dtype=torch.float64) * 12 - 2
    found = raft.look_up(raft.correlations(one, other), places)
    assert found.shape == (1, raft.LEVELS * 81, 8, 9)
    for level, across, down in ((0, -4, 3), (1, 0, 0), (2, 2, -1), (3, 0, 1)):
        channel = 81 * level + 9 * (across + raft.RADIUS) + down + raft.RADIUS
        for row, column in ((0, 0), (3, 7), (7, 8)):
            product = (one[0, :, row, column] @ other[0].flatten(1)).reshape(8, 9) / 5**0.5
            right, below = (places[0, :, row, column] / 2**level).tolist()
            wanted = between(pooled(product, level), right + across, below + down)
            assert float(found[0, channel, row, column]) == pytest.approx(wanted, abs=1e-9)


def pooled(map_hw: Tensor, times: int) -> Tensor:
    for _ in range(times):
        height, width = (size // 2 * 2 for size in map_hw.shape)
        map_hw = map_hw[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    return map_hw


def between(map_hw: Tensor, right: float, below: float) -> float:
    """Bilinear, nothing beside the map."""
    total, (height, width) = 0.0, map_hw.shape
    left, top = int(right // 1), int(below // 1)
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < height and 0 <= column < width:
            share = (1 - abs(right - column)) * (1 - abs(below - row))
            total += share * float(map_hw[row, column])
    return total


def test_flow_is_enlarged_by_weighted_means_of_nine() -> None:
    torch.manual_seed(1)
    flow, mask = torch.randn(1, 2, 3, 4), torch.randn(1, 9 * 64, 3, 4)
    fine = raft.enlarged(flow, mask)
    assert fine.shape == (1, 2, 24, 32)
    for row, column in ((0, 0), (5, 17), (23, 31), (12, 8)):
        above, left = row // 8, column // 8
        share = mask.reshape(9, 8, 8, 3, 4)[:, row % 8, column % 8, above, left].softmax(0)
        wanted = torch.zeros(2)
        for number, (down, right) in enumerate(itertools.product((-1, 0, 1), repeat=2)):
            if 0 <= above + down < 3 and 0 <= left + right < 4:
                wanted += share[number] * 8 * flow[0, :, above + down, left + right]
        torch.testing.assert_close(fine[0, :, row, column], wanted)


@torch.no_grad()
def test_pairs_do_not_see_each_other_and_back_is_there_of_the_other_way() -> None:
    torch.manual_seed(2)
    model = raft.tiny(iterations=3)
    first, second = torch.rand(2, 3, 3, 64, 72) * 255
    there, back = model(first, second)
    alone, _ = model(first[1:2], second[1:2])
    torch.testing.assert_close(there[1:2], alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model(second, first)[0], back, atol=1e-4, rtol=1e-4)
    assert there.isfinite().all()
    assert there.std() > 0
