"""DeMamba: its Mamba block, orders of tokens, both heads; X-CLIP's tower under both names."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.parity.rows import (
    EXACT,
    Kind,
    Row,
    Tensors,
    compare,
    declared,
    gradients,
    tensors,
    weights_of,
)  # fmt: skip
from extract.networks import clip, weights, xclip
from extract.networks.clip import EPS, ClipConfig, ClipTower
from extract.networks.vit import BlockConfig
from extract.networks.xclip import XClipBlock, XClipConfig, XClipTower
from heads.parts.mamba import MambaBlock, sequences
from heads.zoo.demamba import UNUSED, DeMambaConfig, DeMambaNet

Config = TypeVar("Config", bound=ClipConfig)
_FUSING = {"xclip": 1, "clip": 2}


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del path
    kinds: dict[str, Kind] = {
        "mamba_block": _block_rows,
        "token_order": _order_rows,
        "head_xclip": _head_rows,
        "head_clip": _head_rows,
        "xclip_block": _xclip_block_rows,
        "xclip_tower": _tower_rows,
        "xclip_tower_ms": _microsoft_rows,
        "xclip_e2e": _xclip_end_rows,
        "clip_e2e": _clip_end_rows,
    }
    return kinds.get(str(described.get("item")))


def _block_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    block = MambaBlock(described["config"]["d_model"])
    weights.fill(block, _used(weights_of(path), ("mixer.conv1d_b.",)), model="a Mamba block")
    found: Tensors = {
        name.replace("x_", "block_out_", 1): block(golden[name])
        for name in golden
        if name.startswith("x_")
    }
    x = golden["x_len11"].clone().requires_grad_()
    loss = (block(x) * golden["cotangent_len11"]).sum()
    found |= gradients(loss, {"x_len11": x, **dict(block.named_parameters())})
    found["mixer_out_len11"] = block.mixer(block.norm(golden["x_len11"]))
    yield from declared(path, described, found, golden)


def _order_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    del described
    for name, expected in tensors(path).items():
        variant, grid, *rest = name.split("_")
        if variant in _FUSING:
            frames = 16 if "16frames" in rest else 8
            side, over_time = int(grid.removeprefix("grid")), "over" in rest
            ours = sequences(side, frames, _FUSING[variant], over_time=over_time)
            yield compare(path.name, name, ours, expected, EXACT)


def _head_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, variant = tensors(path), path.stem.removeprefix("head_")
    net = _head(weights_of(path), described["config"]["grid"], variant)
    tokens = golden["tokens"][:, :, 1:] if variant == "xclip" else golden["tokens"]
    vectors = golden["pooler"].mean(1) if variant == "xclip" else torch.empty(len(tokens), 0)
    logit = net(tokens, vectors)
    loss = functional.binary_cross_entropy_with_logits(logit, golden["labels"])
    found = {
        "mamba_in": net.regions(tokens),
        "mamba_out": net.mamba(net.regions(tokens)),
        "feature": net.feature(tokens, vectors),
        "logit": logit,
        "prob": logit.sigmoid()[:, 0],
        "loss": loss,
        **gradients(loss, dict(net.named_parameters())),
    }
    if "logit_small_input" in golden:
        found["logit_small_input"] = net(tokens * 2**-9, vectors * 2**-9)
    yield from declared(path, described, found, golden)


def _xclip_block_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, size = tensors(path), described["config"]
    config = BlockConfig(
        width=size["width"], heads=size["heads"], hidden=4 * size["width"], gelu="quick",
        norm_eps=EPS, layer_scale=False,
    )  # fmt: skip
    block = XClipBlock(config, size["frames"])
    layer = {f"vision_model.encoder.layers.0.{k}": v for k, v in weights_of(path).items()}
    named = weights.without_prefix(clip.tower_names(layer), ("blocks.0.",))
    weights.fill(block, named, model="a block of X-CLIP")
    yield from declared(path, described, {"out": block(golden["hidden"])}, golden)


@torch.no_grad()
def _tower_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, state = tensors(path), weights_of(path)
    out = state["visual_projection.weight"].shape[0]
    tower = _tower(state, described["config"], out)
    images = golden["video"].flatten(0, 1)
    tokens = tower.embed(images)
    found = {"after_pre_layernorm": tokens}
    for index, block in enumerate(tower.blocks):
        tokens = block(tokens)
        found[f"after_layer{index}"] = tokens
    found |= {
        "last_hidden_state": tower.tokens(images),
        "pooler_output": tower.ln_post(tokens[:, 0]),
        "image_embeds": tower(images),
    }
    yield from declared(path, described, found, golden)


@torch.no_grad()
def _microsoft_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, state = tensors(path), weights_of(path)
    tower = _tower(state, _tower_size(path), state["visual.proj"].shape[1])
    images = golden["video"].flatten(0, 1)
    found = {"cls_projected": tower(images), "patch_tokens": tower.tokens(images)[:, 1:]}
    yield from declared(path, described, found, golden)


@torch.no_grad()
def _xclip_end_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, state = tensors(path), weights_of(path)
    tower = _tower(weights.without_prefix(state, ("encoder.",)), _tower_size(path), 0)
    clips = golden["video"]
    flat = tower.tokens(clips.flatten(0, 1))
    tokens = flat.reshape(*clips.shape[:2], *flat.shape[1:])
    net = _head(state, _side(tokens.shape[2] - 1), "xclip")
    logit = net(tokens[:, :, 1:], tower.ln_post(tokens[:, :, 0]).mean(1))
    yield from declared(path, described, _answer(logit), golden)


@torch.no_grad()
def _clip_end_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, state = tensors(path), weights_of(path)
    tower = ClipTower(_size(described["config"], ClipConfig, out=described["config"]["output_dim"]))
    named = clip.tower_names(weights.without_prefix(state, ("clip_model.",)))
    weights.fill(tower, named, model="CLIP's tower")
    clips = golden["video"]
    tokens = tower.projected(tower.tokens(clips.flatten(0, 1))[:, 1:])
    grid = tokens.reshape(*clips.shape[:2], *tokens.shape[1:])
    logit = _head(state, _side(tokens.shape[1]), "clip")(grid, torch.empty(len(grid), 0))
    yield from declared(path, described, {"tokens": tokens, **_answer(logit)}, golden)


def _answer(logit: Tensor) -> Tensors:
    return {"logit": logit, "prob": logit.sigmoid()[:, 0]}


def _tower(state: Mapping[str, Tensor], size: Mapping[str, Any], out: int) -> XClipTower:
    config = _size(size, XClipConfig, out=out, frames=size.get("frames", xclip.FRAMES))
    return xclip.from_state(state, config, "X-CLIP's tower")


def _head(state: Mapping[str, Tensor], side: int, variant: str) -> DeMambaNet:
    config = DeMambaConfig(variant="xclip" if variant == "xclip" else "clip")
    ours = {k: v for k, v in state.items() if k.startswith(("mamba.", "fc"))}
    width = len(ours["mamba.norm.weight"])
    net = DeMambaNet(side**2, width, len(ours["fc1.bias"]), config)
    weights.fill(net, _used(ours, UNUSED), model="a DeMamba head")
    return net


def _tower_size(path: Path) -> dict[str, Any]:
    """Two files say no sizes of their own: theirs are the tower's."""
    found: dict[str, Any] = json.loads(path.with_name("xclip_tower.json").read_text())["config"]
    return found


def _size(size: Mapping[str, Any], kind: type[Config], **more: int) -> Config:
    return kind(
        width=size["width"], depth=size["layers"], heads=size["heads"], patch=size["patch"],
        image=size["image"], **more,
    )  # fmt: skip


def _side(patches: int) -> int:
    return math.isqrt(patches)


def _used(state: Mapping[str, Tensor], unused: tuple[str, ...]) -> Tensors:
    return {key: value for key, value in state.items() if not key.startswith(unused)}
