"""DINOv2 and CLIP against transformers and OpenAI's arithmetic; see `golden/priors/make.py`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from extract.errors import BadWeights
from extract.networks import clip, dinov2, weights
from extract.networks.clip import ClipTower
from extract.networks.dinov2 import DinoV2, VitConfig, resized_positions
from extract.views.transforms import IMAGENET_MEAN, IMAGENET_STD

PRIORS = Path(__file__).parent.parent / "golden" / "priors"
TINY = dinov2.PRESETS["dinov2-tiny"]
DINO_FILES = ("dinov2.pth", "dinov2_hf.safetensors")
CLIP_FILES = ("clip.pt", "clip_hf.safetensors")


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return load_file(PRIORS / "expected.safetensors")


def images(frames_thwc: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    big_thwc = frames_thwc.repeat_interleave(4, 1).repeat_interleave(4, 2)
    images_bchw = big_thwc.permute(0, 3, 1, 2).float() / 255
    return (images_bchw - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def read(name: str) -> weights.State:
    return weights.read_state(PRIORS / name)


def tiny_dino(name: str = "dinov2.pth", config: VitConfig = TINY) -> DinoV2:
    return dinov2.from_state(read(name), config, "tiny").eval()


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance


@torch.no_grad()
@pytest.mark.parametrize("file", DINO_FILES)
def test_dinov2_says_what_transformers_says(file: str, expected: dict[str, Tensor]) -> None:
    model = tiny_dino(file)
    close(model.pos_embed, expected["position"], 1e-6)
    close(model(images(expected["frames"], IMAGENET_MEAN, IMAGENET_STD)), expected["dinov2"])


@torch.no_grad()
def test_dinov2_with_registers_says_what_transformers_says(expected: dict[str, Tensor]) -> None:
    model = tiny_dino("dinov2_reg_hf.safetensors", replace(TINY, registers=4))
    close(model(images(expected["frames"], IMAGENET_MEAN, IMAGENET_STD)), expected["dinov2_reg"])


@torch.no_grad()
@pytest.mark.parametrize("file", CLIP_FILES)
def test_clip_says_what_transformers_says(file: str, expected: dict[str, Tensor]) -> None:
    model = clip.from_state(read(file)).eval()
    close(model(images(expected["frames"], clip.MEAN, clip.STD)), expected["clip"])


def test_one_network_in_two_files_has_one_hash() -> None:
    dinos = {weights.content_hash(tiny_dino(file).state_dict()) for file in DINO_FILES}
    clips = {weights.content_hash(clip.from_state(read(file)).state_dict()) for file in CLIP_FILES}
    assert len(dinos) == len(clips) == 1


@torch.no_grad()
def test_dino_without_layer_scale_is_dinov2_with_scales_of_one() -> None:
    scaled = tiny_dino()
    state = {key: value for key, value in scaled.state_dict().items() if "gamma" not in key}
    plain = dinov2.from_state(state, replace(TINY, layer_scale=False), "tiny").eval()
    for name, parameter in scaled.named_parameters():
        if "gamma" in name:
            parameter.fill_(1)
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain(pixels), scaled(pixels))


def cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel of torch's bicubic, a = -0.75."""
    x, a = np.abs(distance), -0.75
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.asarray(np.where(x <= 1, near, np.where(x < 2, far, 0.0)))


def test_positions_are_sampled_with_a_tenth_of_a_patch_added() -> None:
    old, new = 37, 16
    grid = torch.randn(old, old, 3, generator=torch.Generator().manual_seed(1))
    embedding = torch.cat([torch.zeros(1, 1, 3), grid.reshape(1, -1, 3)], 1)
    config = VitConfig(width=3, depth=1, heads=1, hidden=1)
    resized = resized_positions(embedding, config)
    places = (np.arange(new) + 0.5) * old / (new + 0.1) - 0.5
    taps = np.floor(places)[:, None] + np.arange(-1, 3)
    matrix = np.zeros((new, old))
    for row in range(new):
        at = np.clip(taps[row], 0, old - 1).astype(int)
        np.add.at(matrix[row], at, cubic(places[row] - taps[row]))
    by_hand = np.einsum("iy,jx,yxd->ijd", matrix, matrix, grid.double().numpy())
    close(resized[0, 1:].double(), torch.from_numpy(by_hand).reshape(-1, 3))
    assert resized_positions(resized, config) is resized


@pytest.mark.parametrize(
    ("preset", "count"),
    [("dinov2-s14", 22_056_576), ("dinov2-b14", 86_580_480), ("dinov2-l14", 304_368_640),
     ("dinov2-b14-reg", 86_583_552)],
)  # fmt: skip
def test_full_sizes_have_as_many_numbers_as_published(preset: str, count: int) -> None:
    """Published files have a mask token, and positions for 518 pixels, 37² instead of 16²."""
    config = dinov2.PRESETS[preset]
    with torch.device("meta"):
        model = DinoV2(config)
    ours = sum(parameter.numel() for parameter in model.parameters())
    assert ours + (1 + 37**2 - 16**2) * config.width == count


def test_dino_has_as_many_numbers_as_published() -> None:
    with torch.device("meta"):
        model = DinoV2(dinov2.PRESETS["dino-b16"])
    assert sum(parameter.numel() for parameter in model.parameters()) == 85_798_656


@pytest.mark.parametrize(
    ("name", "count"),
    [("ViT-B/32", 87_849_216), ("ViT-B/16", 86_192_640), ("ViT-L/14", 303_966_208)],
)
def test_full_towers_have_as_many_numbers_as_published(name: str, count: int) -> None:
    with torch.device("meta"):
        model = ClipTower(clip.PRESETS[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert clip.name_of(model.config) == name


def test_the_wrong_weights_are_named_for_what_they_are() -> None:
    with pytest.raises(BadWeights, match=r"not dinov2-b14\. .*look like preset dinov2-tiny"):
        dinov2.from_state(read("dinov2.pth"), dinov2.PRESETS["dinov2-b14"], "dinov2-b14")
    with pytest.raises(BadWeights, match=r"unexpected: .*register_tokens"):
        tiny_dino("dinov2_reg_hf.safetensors")
    with pytest.raises(BadWeights, match=r"not tiny\. missing: .*unexpected"):
        tiny_dino("clip_hf.safetensors")
    for file in DINO_FILES:
        with pytest.raises(BadWeights, match=r"patch embedding is missing.*ViT-B/32.*OpenAI"):
            clip.from_state(read(file))
    resnet = {"visual.conv1.weight": torch.zeros(32, 3, 3, 3)}
    with pytest.raises(BadWeights, match=r"patch embedding is \[32, 3, 3, 3\]"):
        clip.from_state(resnet)


@pytest.mark.parametrize(
    ("key", "message"),
    [("visual.ln_pre.bias", r"missing: ln_pre\.bias"),
     ("visual.transformer.resblocks.1.attn.in_proj_weight", r"missing: blocks\.1\.attn\.qkv")],
)  # fmt: skip
def test_a_tower_with_a_part_missing_is_refused(key: str, message: str) -> None:
    state = read("clip.pt")
    del state[key]
    with pytest.raises(BadWeights, match=message):
        clip.from_state(state)


def test_a_tower_for_larger_images_is_refused() -> None:
    state = read("clip.pt")
    state["visual.positional_embedding"] = torch.zeros(1 + 21**2, 16)
    with pytest.raises(BadWeights, match=r"for 224 pixels.*positional_embedding is \[442, 16\]"):
        clip.from_state(state)


@torch.no_grad()
def test_the_caption_tower_does_not_matter() -> None:
    whole = read("clip.pt")
    assert any(not key.startswith("visual.") for key in whole)
    alone = {key: value for key, value in whole.items() if key.startswith("visual.")}
    hashes = {weights.content_hash(clip.from_state(s).state_dict()) for s in (whole, alone)}
    assert len(hashes) == 1


@torch.no_grad()
@pytest.mark.parametrize("kind", ["dino", "clip"])
def test_an_image_has_the_same_vector_in_any_company(kind: str) -> None:
    model: nn.Module = tiny_dino() if kind == "dino" else clip.from_state(read("clip.pt")).eval()
    pixels = torch.randn(5, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    close(model(pixels)[2:3], model(pixels[2:3]), 1e-5)
