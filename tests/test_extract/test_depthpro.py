"""Depth Pro's two passes against the released code's 36, and loading of both file formats."""

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from extract.branch import BranchRequest, load_branch
from extract.branches import depthpro
from extract.branches.depthpro import PRESETS, Architecture, DepthProEncoder, from_state
from extract.errors import BadSetting, BadWeights
from extract.views.transforms import depth_input

GOLDEN = Path(__file__).parent.parent / "golden"
WEIGHTS = GOLDEN / "depthpro_tiny_weights.safetensors"
SMALL = Architecture(width=32, depth=2, heads=2, hidden=128, out=32)
"""The golden file's network."""


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return load_file(GOLDEN / "depthpro_tiny.safetensors")


@pytest.fixture(scope="module")
def images(expected: dict[str, Tensor]) -> Tensor:
    return torch.from_numpy(depth_input(expected["frames"].numpy()))


def encoder() -> DepthProEncoder:
    return from_state(load_file(WEIGHTS), SMALL).eval()


def full_map(model: DepthProEncoder, images_bchw: Tensor) -> Tensor:
    """The released order of things: the whole map first. Only tests need it."""
    passes = (model.patch_encoder(images_bchw), model.image_encoder(images_bchw))
    maps = [tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, 24, 24) for tokens in passes]
    both = torch.cat([model.upsample2(maps[0]), model.upsample_lowres(maps[1])], 1)
    fused: Tensor = model.fuse_lowres(both)
    return fused


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance


@torch.no_grad()
def test_tokens_map_and_mean_are_the_released_ones(
    expected: dict[str, Tensor], images: Tensor
) -> None:
    model = encoder()
    close(images[:, :, ::3, ::3], expected["x2_every3"], 1e-5)
    close(model.patch_encoder(images), expected["patch_tokens"], 5e-5)
    close(model.image_encoder(images), expected["image_tokens"], 5e-5)
    close(full_map(model, images), expected["output"], 2e-5)
    close(model(images), expected["pooled"], 2e-6)
    close(model(images).mean(0), expected["pooled_mean_of_both_frames"], 2e-6)


@torch.no_grad()
def test_the_tail_on_mean_tokens_is_the_mean_of_the_map(images: Tensor) -> None:
    model = encoder()
    noise = images + torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    close(model(noise), full_map(model, noise).mean((2, 3)), 2e-6)


def hugging_face(state: dict[str, Tensor], *, modern: bool, prefix: str) -> dict[str, Tensor]:
    """The same weights under Hugging Face's names, as its files (or transformers 5) have them."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("encoder.")
        if name.startswith(("patch_encoder.", "image_encoder.")):
            part, rest = name.split(".", 1)
            for old, new in (
                ("cls_token", "embeddings.cls_token"),
                ("pos_embed", "embeddings.position_embeddings"),
                ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
                ("blocks.", "encoder.layer."),
                ("attn.proj", "attention.o_proj" if modern else "attention.output.dense"),
                ("ls1.gamma", "layer_scale1.lambda1"),
                ("ls2.gamma", "layer_scale2.lambda1"),
            ):
                rest = rest.replace(old, new)
            if rest.startswith("norm."):
                rest = f"layernorm.{rest.removeprefix('norm.')}"
            stem = f"{prefix}encoder.{part}.model."
            if "attn.qkv" in rest:
                names = (
                    ("attention.q_proj", "attention.k_proj", "attention.v_proj")
                    if modern
                    else tuple(f"attention.attention.{n}" for n in ("query", "key", "value"))
                )
                for n, third in zip(names, value.chunk(3), strict=True):
                    renamed[stem + rest.replace("attn.qkv", n)] = third
            else:
                renamed[stem + rest] = value
        elif name.startswith("upsample2."):
            renamed[f"{prefix}neck.feature_upsample.scaled_images.0.layers.{name[10:]}"] = value
        elif name.startswith("upsample_lowres."):
            renamed[f"{prefix}neck.feature_upsample.image_block.layers.0.{name[16:]}"] = value
        elif name.startswith("fuse_lowres."):
            renamed[f"{prefix}neck.fuse_image_with_low_res.{name[12:]}"] = value
    renamed[f"{prefix}encoder.patch_encoder.model.embeddings.mask_token"] = torch.zeros(1, 32)
    renamed["fov_model.conv.weight"] = torch.zeros(1)
    return renamed


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("prefix", ["", "depth_pro."])
def test_both_file_formats_give_the_same_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, *, modern: bool
) -> None:
    monkeypatch.setitem(depthpro.PRESETS, "tiny", SMALL)
    apple = {k: v.clone() for k, v in load_file(WEIGHTS).items()}
    torch.save(apple, tmp_path / "depth_pro.pt")
    converted = hugging_face(apple, modern=modern, prefix=prefix)
    save_file({k: v.contiguous() for k, v in converted.items()}, tmp_path / "m.safetensors")
    one = load_branch(BranchRequest.parse(f"depthpro=tiny:{tmp_path / 'depth_pro.pt'}"))
    two = load_branch(BranchRequest.parse(f"depthpro=tiny:{tmp_path / 'm.safetensors'}"))
    assert one.offer.fingerprint == two.offer.fingerprint
    batch = one.example(1)
    assert torch.equal(one.forward(batch)["depth"], two.forward(batch)["depth"])


def test_missing_parts_are_listed() -> None:
    state = load_file(WEIGHTS)
    del state["encoder.fuse_lowres.bias"]
    with pytest.raises(BadWeights, match=r"missing: fuse_lowres\.bias"):
        from_state(state, SMALL)
    with pytest.raises(BadWeights, match=r"missing: .*shapes|missing"):
        from_state(load_file(WEIGHTS), PRESETS["L16"])


def test_no_weights_says_where_to_get_them() -> None:
    with pytest.raises(BadWeights, match=r"depth_pro\.pt.*Hugging Face.*depthpro=tiny"):
        load_branch(BranchRequest.parse("depthpro=L16"))
    with pytest.raises(BadSetting, match="have: L16, tiny"):
        load_branch(BranchRequest.parse("depthpro=G14"))
    with pytest.raises(BadSetting, match="have: official, full-frame"):
        load_branch(BranchRequest.parse("depthpro=tiny?source=half"))


def test_full_size_weights_have_the_published_shape() -> None:
    with torch.device("meta"):
        model = DepthProEncoder(PRESETS["L16"])
    count = sum(parameter.numel() for parameter in model.patch_encoder.parameters())
    assert 303e6 < count < 305e6
    assert model.fuse_lowres.weight.shape == (1024, 2048, 1, 1)


@torch.no_grad()
def test_transformers_own_encoder_agrees(expected: dict[str, Tensor], images: Tensor) -> None:
    """Runs where transformers imports, which needs torchvision to work or to be absent."""
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    from transformers import DepthProConfig, DepthProModel

    vit = {
        "model_type": "dinov2", "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "patch_size": 16, "image_size": 384, "layerscale_value": 1.0,
        "mlp_ratio": 4, "use_mask_token": False,
    }  # fmt: skip
    config = DepthProConfig(
        image_model_config=vit, patch_model_config=vit, fov_model_config=vit, use_fov_model=False,
        scaled_images_feature_dims=[32, 32, 16], intermediate_feature_dims=[8, 8],
        intermediate_hook_ids=[0, 0], fusion_hidden_size=8,
    )  # fmt: skip
    theirs = DepthProModel(config).eval()
    ours = hugging_face(dict(load_file(WEIGHTS)), modern=True, prefix="")
    known = theirs.state_dict()
    theirs.load_state_dict({k: v for k, v in ours.items() if k in known}, strict=False)
    seen: list[Tensor] = []
    theirs.neck.fuse_image_with_low_res.register_forward_hook(lambda *call: seen.append(call[2]))
    big = torch.nn.functional.interpolate(images, size=(1536, 1536), mode="nearest")
    theirs(big)
    close(seen[0], expected["output"], 2e-5)
