"""DINOv2's vision transformer, and the original DINO's: image → tokens, and loading of both.

Files: the official ones (`dinov2_vitb14_pretrain.pth`, `dinov2_vitb14_reg4_pretrain.pth`,
`dino_vitbase16_pretrain.pth`) and Hugging Face's of `Dinov2Model`, `Dinov2WithRegistersModel`.
A position embedding made for another image size is resized as the official hub models do it:
bicubic, without registers by a scale factor with 0.1 of a patch added, with registers antialiased
and to the exact size. Hugging Face's model leaves the 0.1 out; ours is the official arithmetic
whatever the file's names. Legend: b images, n tokens, d channels.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.networks import weights
from extract.networks.vit import Block, BlockConfig, LayerNorm, patches

_OFFSET = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class VitConfig:
    """What decides the transformer's shape."""

    width: int
    depth: int
    heads: int
    hidden: int
    image: int = 224
    patch: int = 14
    registers: int = 0
    """Tokens that belong to no patch and are thrown away at the end."""
    layer_scale: bool = True
    """DINOv2 has it, DINO has not."""

    @property
    def side(self) -> int:
        """Patches along an edge."""
        return self.image // self.patch


_S = VitConfig(width=384, depth=12, heads=6, hidden=1536)
_B = VitConfig(width=768, depth=12, heads=12, hidden=3072)
_L = VitConfig(width=1024, depth=24, heads=16, hidden=4096)
PRESETS = {
    "dinov2-s14": _S,
    "dinov2-b14": _B,
    "dinov2-l14": _L,
    "dinov2-s14-reg": replace(_S, registers=4),
    "dinov2-b14-reg": replace(_B, registers=4),
    "dinov2-l14-reg": replace(_L, registers=4),
    "dino-b16": replace(_B, patch=16, layer_scale=False),
    "dinov2-tiny": VitConfig(width=16, depth=2, heads=2, hidden=64),
}

_OFFICIAL = "dinov2_vit{size}14_pretrain.pth or model.safetensors of facebook/dinov2-{long}"
_OFFICIAL_REGISTERS = (
    "dinov2_vit{size}14_reg4_pretrain.pth or model.safetensors of "
    "facebook/dinov2-with-registers-{long}"
)
_LONG = {"s": "small", "b": "base", "l": "large"}
FILES = {
    **{f"dinov2-{s}14": _OFFICIAL.format(size=s, long=long) for s, long in _LONG.items()},
    **{
        f"dinov2-{s}14-reg": _OFFICIAL_REGISTERS.format(size=s, long=long)
        for s, long in _LONG.items()
    },
    "dino-b16": "dino_vitbase16_pretrain.pth",
}
"""What each preset's weights are called where they are published."""


class PatchEmbed(nn.Module):
    """An image cut into patches, each a vector."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, stride=config.patch)

    def forward(self, images_bchw: Tensor) -> Tensor:
        return patches(images_bchw[:, :, None], self.proj)


class DinoV2(nn.Module):
    """The transformer; tokens after the final norm: class token, registers, patches."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.side**2, config.width))
        registers = torch.zeros(1, config.registers, config.width)
        self.register_tokens = nn.Parameter(registers) if config.registers else None
        block = BlockConfig(
            width=config.width, heads=config.heads, hidden=config.hidden,
            layer_scale=config.layer_scale,
        )  # fmt: skip
        self.blocks = nn.ModuleList(Block(block) for _ in range(config.depth))
        self.norm = LayerNorm(config.width, eps=1e-6)

    def forward(self, images_bchw: Tensor) -> Tensor:
        patches_bnd = self.patch_embed(images_bchw)
        cls_b1d = self.cls_token.expand(len(patches_bnd), -1, -1)
        tokens_bnd = torch.cat([cls_b1d, patches_bnd], 1) + self.pos_embed
        if self.register_tokens is not None:  # they have no place
            registers_brd = self.register_tokens.expand(len(patches_bnd), -1, -1)
            parts = [tokens_bnd[:, :1], registers_brd, tokens_bnd[:, 1:]]
            tokens_bnd = torch.cat(parts, 1)
        for block in self.blocks:
            tokens_bnd = block(tokens_bnd)
        normed: Tensor = self.norm(tokens_bnd)
        return normed


def from_state(state: Mapping[str, Tensor], config: VitConfig, name: str) -> DinoV2:
    """The network with the weights of an official file or one of Hugging Face's."""
    state = official_names(weights.without_prefix(state, _PREFIXES))
    ours = {key: value for key, value in state.items() if key != "mask_token"}
    if "pos_embed" in ours:
        ours["pos_embed"] = resized_positions(weights.float32(ours["pos_embed"]), config)
    with weights.unfilled():
        model = DinoV2(config)
    weights.fill(model, ours, model=name, hint=_hint(ours, name))
    return model


def resized_positions(embedding_1nd: Tensor, config: VitConfig) -> Tensor:
    """(1, 1 + side², d), as the official hub models do it. What is no square stays as it is."""
    old = math.isqrt(embedding_1nd.shape[1] - 1)
    if old == config.side or old**2 != embedding_1nd.shape[1] - 1:
        return embedding_1nd
    cls_11d, grid_1nd = embedding_1nd[:, :1], embedding_1nd[:, 1:]
    grid_1dhw = grid_1nd.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    if config.registers:
        size = (config.side, config.side)
        resized = functional.interpolate(grid_1dhw, size=size, mode="bicubic", antialias=True)
    else:
        scale = (config.side + _OFFSET) / old
        resized = functional.interpolate(grid_1dhw, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([cls_11d, resized.flatten(2).transpose(1, 2)], 1)


_PREFIXES = ("dinov2_with_registers.", "dinov2.", "backbone.")
_NAMES = (
    (".embeddings.cls_token", ".cls_token"),
    (".embeddings.mask_token", ".mask_token"),
    (".embeddings.register_tokens", ".register_tokens"),
    (".embeddings.position_embeddings", ".pos_embed"),
    (".embeddings.patch_embeddings.projection.", ".patch_embed.proj."),
    (".encoder.layer.", ".blocks."),
    (".attention.output.dense.", ".attn.proj."),
    (".attention.o_proj.", ".attn.proj."),
    (".layer_scale1.lambda1", ".ls1.gamma"),
    (".layer_scale2.lambda1", ".ls2.gamma"),
    (".layernorm.", ".norm."),
)
_QKV = re.compile(
    r"(?P<block>.*?)\.attention\.(?:attention\.)?"
    r"(?P<part>query|key|value|[qkv]_proj)\.(?P<what>weight|bias)"
)


def official_names(state: Mapping[str, Tensor]) -> weights.State:
    """Hugging Face's names → the official ones."""
    renamed: weights.State = {}
    for original, value in state.items():
        key = f".{original}"
        for name, replacement in _NAMES:
            key = key.replace(name, replacement)
        renamed[key.removeprefix(".")] = value
    return weights.joined_qkv(renamed, _QKV)


def _hint(state: Mapping[str, Tensor], asked: str) -> str:
    patch = state.get("patch_embed.proj.weight")
    shape = list(patch.shape) if patch is not None else []
    registers = state["register_tokens"].shape[1] if "register_tokens" in state else 0
    for name, config in PRESETS.items():
        wanted = [config.width, 3, config.patch, config.patch]
        if (shape, registers) == (wanted, config.registers) and name != asked:
            return f" They look like preset {name}."
    return ""
