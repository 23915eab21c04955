"""Detectors that judge single frames: what they see of a frame, and what they say of it."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from extract.branch import Branch, BranchRequest, load_branch
from extract.errors import BadSetting, BadWeights
from extract.networks import genconvit, weights
from extract.networks.convnext import ConvNextConfig
from extract.networks.f3net import BandDetector, EnergyMeans, TwoViews, released_names
from extract.networks.frame_network import FrameNetwork
from extract.networks.frequency import BandEnergies, Filter
from extract.networks.genconvit import Autoencoded, Sampled
from extract.networks.npr import Npr, shares
from extract.networks.patchcraft import PatchCraft
from extract.networks.resnet import ResNet, ResNetConfig
from extract.networks.swin import Swin, SwinConfig
from extract.views.looks import LOOKS, looked
from extract.views.patches import corners, smashed, texture
from extract.views.protocol import Protocol


def branch(text: str) -> Branch:
    return load_branch(BranchRequest.parse(text))


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def said(found: Branch, frames: dict[int, NDArray[np.uint8]], protocol: str) -> dict[str, object]:
    views = Protocol.parse(protocol).views("v", len(frames), fps=8.0)
    results = found.forward(torch.from_numpy(found.prepare.load()(frames, views)))
    return {name: numbers[0] for name, numbers in results.items()}


@pytest.mark.parametrize("height", [226, 227, 229, 230, 231, 300])
def test_npr_crops_whole_blocks_of_the_frame_as_it_is(height: int) -> None:
    frame = picture(height, 240)
    crop = looked(frame, LOOKS["npr"])
    starts = [
        (top, left)
        for top in range(height - 223)
        for left in range(17)
        if np.array_equal(frame[top : top + 224, left : left + 224], crop)
    ]
    ((top, left),) = starts
    assert top % 2 == left % 2 == 0
    assert abs(top - (height - 224) / 2) <= 2


def test_upscaling_without_smoothing_leaves_no_residual_at_all() -> None:
    small = picture(112, 112)
    doubled = {0: small.repeat(2, 0).repeat(2, 1)} | {i: picture(224, 224, i) for i in (1, 2)}
    found = said(branch("npr=residual?frames=3"), doubled, "frames-3@all")["shares"]
    assert isinstance(found, torch.Tensor)
    by_class = found.reshape(3, 3, 3, 7)
    torch.testing.assert_close(by_class.sum(-1), torch.ones(3, 3, 3))
    assert (by_class[0, ..., 0] == 1).all()
    assert (by_class[1:, ..., 0] < 0.02).all()


def test_differences_are_counted_by_grey_levels() -> None:
    levels = torch.full((1, 3, 2, 2), 100.0)
    levels[0, 0, 0, 1], levels[0, 0, 1, 0], levels[0, 0, 1, 1] = 101.0, 96.0, 200.0
    found = shares(levels).reshape(3, 3, 7)[0].argmax(-1)
    assert found.tolist() == [1, 3, 6]


def test_frames_that_the_video_does_not_have_are_not_present() -> None:
    found = said(branch("cnndet=tiny?frames=4"), {0: picture(64, 64)}, "frames-4@8")
    assert found["present"].tolist() == [1, 0, 0, 0]  # type: ignore[attr-defined]


def test_a_checkpoint_is_loaded_whole_or_not_at_all(tmp_path: Path) -> None:
    network = ResNet(ResNetConfig(blocks=(1, 1, 1, 1), width=8))
    state = dict(network.state_dict())
    torch.save({"model": state, "total_steps": 3}, tmp_path / "own.pth")
    found = branch(f"cnndet=tiny:{tmp_path / 'own.pth'}")
    assert found.provenance["source"] == "own.pth"
    for name, value in found.model.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(value, state[name])
    del state["fc.bias"]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(BadWeights, match=r"not cnndet=tiny. missing: fc\.bias"):
        branch(f"cnndet=tiny:{tmp_path / 'less.safetensors'}")


FACES = ConvNextConfig(depths=(1, 1, 1, 1), widths=(8, 12, 16, 24), classes=40)
SWIN = SwinConfig(size=64, depths=(1, 2), heads=(1, 2), width=8, window=4, classes=40)
RELEASED = ("npr=released", "cnndet=released", "patchcraft=released", "f3net=fad", "genconvit=vae")
DEPTHS = (
    (Npr(8), 3),
    (ResNet(ResNetConfig(blocks=(1, 1, 1, 1), width=8)), 5),
    (PatchCraft(8), 5),
    (TwoViews(64, 16), 14),
    (BandDetector(64, 16), 14),
    (Autoencoded(FACES), 6),
    (Sampled(FACES, 64), 6),
    (Autoencoded(FACES, SWIN), 6),
)


@pytest.mark.parametrize("released", RELEASED)
def test_released_networks_say_which_file_they_need(released: str) -> None:
    name, _, preset = released.partition("=")
    with pytest.raises(BadWeights, match=rf"{released}:PATH, with .*\.pth"):
        branch(released)
    with pytest.raises(BadSetting, match=f"preset 'large' unknown; have: .*{preset}"):
        branch(f"{name}=large")
    with pytest.raises(BadSetting, match=r"look='d3' unknown; have: |has no option 'look'"):
        branch(f"{name}=tiny?look=d3")


def test_statistics_have_no_weights(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="npr=residual has no weights"):
        branch(f"npr=residual:{tmp_path / 'x.pth'}")


@pytest.mark.parametrize(("network", "depth"), DEPTHS)
def test_layers_go_from_the_stem_to_the_head(network: FrameNetwork, depth: int) -> None:
    layers = [network.layer_of(name) for name, _ in network.named_parameters()]
    assert set(layers) == set(range(depth + 1))


def test_patchcraft_sorts_flat_places_from_busy_ones() -> None:
    frame = picture(128, 96)
    frame[:64] = 90
    both = smashed(frame, seed=42, grid=2)
    assert both.shape == (128, 64, 3)
    assert (both[:64] == 90).all()
    flattest = both[64:].reshape(2, 32, 2, 32, 3).swapaxes(1, 2).reshape(4, 32, 32, 3)
    busy = texture(flattest)
    assert (np.diff(busy) <= 0).all()
    assert busy[-1] > 0


def test_patchcrafts_places_follow_from_size_and_frame_number_alone() -> None:
    frames = {i: picture(90, 120, i) for i in range(3)}
    prepare = branch("patchcraft=tiny?frames=3").prepare.load()
    rows = prepare(frames, Protocol.parse("frames-3@all").views("a", 3))
    other = prepare(frames, Protocol.parse("frames-3@all").views("b", 3, seed=7))
    assert np.array_equal(rows, other)
    twice = prepare(
        dict.fromkeys(range(3), frames[0]), Protocol.parse("frames-3@all").views("a", 3)
    )
    assert np.array_equal(twice[0, 0], rows[0, 0])
    assert not np.array_equal(twice[0, 0], twice[0, 1])
    assert (corners(90, 120, 500, 42).max(0) == [58, 88]).all()


def test_a_frame_smaller_than_a_crop_is_made_as_large_as_one() -> None:
    both = smashed(picture(20, 70), seed=42, grid=2)
    assert np.array_equal(both[:32, :32], both[96:, 32:])


def test_the_kept_means_of_frequencies_are_all_that_a_learnt_filter_needs() -> None:
    """Its map's mean is a linear function of them."""
    torch.manual_seed(0)
    learnt = BandEnergies()
    image = torch.rand(1, 3, 61, 61) * 2 - 1
    with torch.no_grad():
        whole = learnt(image).mean((2, 3))
        means = EnergyMeans()(image)["means"]
        weights = [
            each.weight.flatten() / each.base.sum()
            for each in learnt.filters
            if isinstance(each, Filter)
        ]
    torch.testing.assert_close(whole, means @ torch.stack(weights).T, atol=1e-5, rtol=1e-5)


def test_frequencies_of_a_flat_frame_are_its_level_alone() -> None:
    flat = {i: np.full((310, 310, 3), 255, np.uint8) for i in range(3)}
    found = said(branch("f3net=lfs?frames=3"), flat, "frames-3@all")["means"]
    assert isinstance(found, torch.Tensor)
    assert found[0, 0] > 3.3
    assert (found[0].reshape(10, 10)[1:, 1:] < -1).all()


def test_deepfakebenchs_checkpoints_hold_a_layer_that_is_not_used() -> None:
    state = dict(BandDetector(64, 16).state_dict())
    whole = {f"module.{k}": v for k, v in state.items()}
    whole["module.backbone.adjust_channel.0.weight"] = torch.zeros(1)
    assert set(released_names(whole)) == set(state)


def test_two_views_are_mixed_only_as_far_as_was_learnt() -> None:
    """What a view takes of the other begins at nothing."""
    torch.manual_seed(0)
    network = TwoViews(64, 32).eval()
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        fresh = network(images)["cls"]
        network.mixBlock7.LFS_gamma.fill_(3.0)
        mixed = network(images)["cls"]
    half = fresh.shape[1] // 2
    assert not torch.allclose(fresh[:, :half], mixed[:, :half])
    assert torch.equal(fresh[:, half:], mixed[:, half:])


def faces(text: str) -> torch.Tensor:
    frames = {i: picture(90, 60, i) for i in range(3)}
    found = said(branch(f"genconvit=tiny-vae?frames=3{text}"), frames, "frames-3@all")["logit"]
    assert isinstance(found, torch.Tensor)
    return found


def test_a_face_gets_the_same_numbers_again_however_its_code_is_scattered() -> None:
    by_noise = {noise: faces(f"&noise={noise}") for noise in genconvit.NOISES}
    for noise, found in by_noise.items():
        assert torch.equal(found, faces(f"&noise={noise}"))
    assert torch.equal(by_noise["released"], faces(""))
    assert not torch.allclose(by_noise["released"], by_noise["none"])
    assert not torch.allclose(by_noise["released"], by_noise["meant"])
    with pytest.raises(BadSetting, match="no option 'noise'"):
        branch("genconvit=tiny?noise=none")


def test_what_genconvits_checkpoints_hold_in_vain_is_left_out(tmp_path: Path) -> None:
    for noise in genconvit.NOISES:
        state = dict(Sampled(FACES, 64, noise).state_dict())
        dead = ("embedder.norm.weight", "convnext_backbone.patch_embed.proj.bias", "fc3.bias")
        whole = {**state, **dict.fromkeys((*dead, "encoder.fc1.bias"), torch.zeros(1))}
        if noise != "meant":
            whole["encoder.var.bias"] = torch.zeros(1)
        save_file({k: v.clone() for k, v in whole.items()}, tmp_path / f"{noise}.safetensors")
        found = branch(f"genconvit=tiny-vae:{tmp_path}/{noise}.safetensors?noise={noise}")
        assert set(found.model.state_dict()) == set(state)  # type: ignore[attr-defined]


def test_what_swin_says_is_part_of_genconvit_only_where_it_is_asked_for(tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in Autoencoded(FACES, SWIN).state_dict().items()}
    save_file(state, tmp_path / "both.safetensors")
    text = f"genconvit=tiny:{tmp_path / 'both.safetensors'}?frames=3"
    released, meant = branch(text), branch(f"{text}&swin=meant")
    other = dict(state)
    other["backbone.patch_embed.proj.bias"] = state["backbone.patch_embed.proj.bias"] + 1
    save_file(other, tmp_path / "both.safetensors")
    rows = released.example(1)
    for before, query, same in ((released, "", True), (meant, "&swin=meant", False)):
        after = branch(text + query)
        assert torch.equal(before.forward(rows)["logit"], after.forward(rows)["logit"]) == same
        assert (before.offer.fingerprint == after.offer.fingerprint) == same


def test_swin_is_hugging_faces() -> None:
    import transformers

    config = transformers.SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 2], num_heads=[1, 2], window_size=4,
        num_labels=40, layer_norm_eps=1e-5,
    )  # fmt: skip
    theirs = transformers.SwinForImageClassification(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    ours = Swin(SWIN).eval()
    ours.load_state_dict({**ours.state_dict(), **timm_names(theirs.state_dict())})
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images).logits, atol=1e-5, rtol=1e-5)


def timm_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    changes = (
        ("swin.encoder.", ""), ("swin.embeddings.patch_embeddings.projection", "patch_embed.proj"),
        ("swin.embeddings.", "patch_embed."), ("swin.layernorm.", "norm."), ("classifier", "head"),
        ("layernorm_before", "norm1"), ("layernorm_after", "norm2"), ("o_proj", "proj"),
        ("relative_position_bias.relative", "relative"), ("attention.", "attn."),
    )  # fmt: skip
    named = {}
    for key, value in state.items():
        for theirs, ours in changes:
            key = key.replace(theirs, ours)
        named[key] = value
    return weights.joined_qkv(named, QKV)


QKV = re.compile(r"(?P<block>.*)\.attn\.(?P<part>[qkv])_proj\.(?P<what>weight|bias)")
