"""InternVideo2, up to the attention pool; its shapes and presets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.networks import position
from extract.networks.space_time import SpaceTimeAdapter
from extract.networks.vit import AttentionPool, Block, BlockConfig, Gelu, patches
from extract.views.sampling import CLIP_FRAMES
from extract.views.view import CLIP_SIZE

POOLED = ("cls", "avg", "attn")
_POSITIONS = ("pos_embed", "pos_embed_spatial", "pos_embed_temporal", "pos_embed_cls")
NOT_DECAYED = ("cls_token", *_POSITIONS)
_INPUT = ("patch_embed", *NOT_DECAYED)
FIELD = 4
"""Sides of the grid that `tokens:4x4` are averaged to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What decides InternVideo2's shape."""

    width: int
    depth: int
    heads: int
    hidden: int
    image: int = CLIP_SIZE
    patch: int = 14
    frames: int = CLIP_FRAMES
    pool_heads: int = 16
    pool_width: int = 768
    gelu: Gelu = "tanh"
    """Released checkpoints were trained with flash-attn's fused MLP: the tanh form."""
    separate_positions: bool = False

    @property
    def side(self) -> int:
        return self.image // self.patch

    @property
    def tokens(self) -> int:
        return 1 + self.frames * self.side**2


PRESETS = {
    "S14": Architecture(width=384, depth=12, heads=6, hidden=1536),
    "B14": Architecture(width=768, depth=12, heads=12, hidden=3072),
    "L14": Architecture(width=1024, depth=24, heads=16, hidden=4096),
    "1B": Architecture(width=1408, depth=40, heads=16, hidden=6144),
    "6B": Architecture(width=3200, depth=48, heads=25, hidden=12800),
    "tiny": Architecture(
        width=128, depth=4, heads=4, hidden=384, patch=28, pool_heads=4, pool_width=96
    ),
}


class PatchEmbed(nn.Module):
    """Frames cut into patches, each a vector."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        size = (1, architecture.patch, architecture.patch)
        self.proj = nn.Conv3d(3, architecture.width, size, stride=size)

    def forward(self, clips_bcthw: Tensor) -> Tensor:
        return patches(clips_bcthw, self.proj)


class InternVideo2(nn.Module):
    """The network up to the attention pool; parameters named as in the official checkpoints."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.patch_embed = PatchEmbed(a)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, a.width))
        if a.separate_positions:
            space, time = position.sincos_apart(a.width, a.frames, a.side)
            self.pos_embed_spatial = nn.Parameter(space[None])
            self.pos_embed_temporal = nn.Parameter(time[None])
            self.pos_embed_cls = nn.Parameter(torch.zeros(1, 1, a.width))
        else:
            self.pos_embed = nn.Parameter(position.sincos(a.width, a.frames, a.side)[None])
        block = BlockConfig(
            width=a.width, heads=a.heads, hidden=a.hidden, gelu=a.gelu, norm="rms",
            qkv_bias=False, qk_norm=True,
        )  # fmt: skip
        self.blocks = nn.ModuleList(Block(block) for _ in range(a.depth))
        self.clip_projector = AttentionPool(a.width, a.pool_heads, a.pool_width)
        self.adapter: SpaceTimeAdapter | None = None
        """Behind the last block, in checkpoints of our own that have one."""

    def layer_of(self, name: str) -> int:
        """0 makes the first block's input, i + 1 is block i, the last one is the pool."""
        part, _, rest = name.partition(".")
        if part in _INPUT:
            return 0
        return int(rest.partition(".")[0]) + 1 if part == "blocks" else len(self.blocks) + 1

    def add_adapter(self, channels: int, seed: int = 0) -> None:
        a = self.architecture
        self.adapter = SpaceTimeAdapter(a.width, channels, (a.frames, a.side, a.side))
        self.adapter.start(seed)

    def embed(self, clips_bcthw: Tensor) -> Tensor:
        """Normalised clips → the first block's input."""
        patches_bnd = self.patch_embed(clips_bcthw)
        cls_b1d = self.cls_token.expand(len(patches_bnd), -1, -1)
        return torch.cat([cls_b1d, patches_bnd], 1) + self.positions()

    def positions(self) -> Tensor:
        if not self.architecture.separate_positions:
            return self.pos_embed
        space, time = self.pos_embed_spatial, self.pos_embed_temporal
        grid = (time[:, :, None] + space[:, None]).flatten(1, 2)
        return torch.cat([self.pos_embed_cls, grid], 1)

    def run(self, tokens_bnd: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Blocks start … stop; from the input of block `start` (`tokens@start`)."""
        for block in self.blocks[start:stop]:
            tokens_bnd = block(tokens_bnd)
        return tokens_bnd

    def adapted(self, tokens_bnd: Tensor) -> Tensor:
        """The last block's output → the final tokens."""
        result: Tensor = tokens_bnd if self.adapter is None else self.adapter(tokens_bnd)
        return result

    def vectors(self, tokens_bnd: Tensor) -> dict[str, Tensor]:
        """The three vectors of the final tokens."""
        return {
            "cls": tokens_bnd[:, 0],
            "avg": tokens_bnd[:, 1:].float().mean(1),
            "attn": self.clip_projector(tokens_bnd),
        }

    def forward(self, clips_bcthw: Tensor, outputs: Sequence[str] = POOLED) -> dict[str, Tensor]:
        tokens_bnd = self.embed(clips_bcthw)
        found: dict[str, Tensor] = {}
        start = 0
        for stop in sorted({block_of(name) for name in outputs if "@" in name}):
            tokens_bnd = self.run(tokens_bnd, start, stop)
            found[f"tokens@{stop}"] = tokens_bnd
            start = stop
        if set(outputs) <= set(found):
            return found  # the last blocks would run for nothing
        tokens_bnd = self.adapted(self.run(tokens_bnd, start))
        found["tokens"] = tokens_bnd
        if "tokens:4x4" in outputs:
            found["tokens:4x4"] = self.fields(tokens_bnd)
        if set(POOLED) & set(outputs):
            found |= self.vectors(tokens_bnd)
        return {name: found[name] for name in outputs}

    def fields(self, tokens_bnd: Tensor) -> Tensor:
        """The class token, then each frame's tokens averaged to a 4 x 4 grid."""
        a = self.architecture
        frames = tokens_bnd[:, 1:].reshape(-1, a.side, a.side, a.width).permute(0, 3, 1, 2)
        pooled = functional.adaptive_avg_pool2d(frames, FIELD).flatten(2).transpose(1, 2)
        pooled_bnd = pooled.reshape(len(tokens_bnd), a.frames * FIELD**2, a.width)
        return torch.cat([tokens_bnd[:, :1], pooled_bnd], 1)


def block_of(output: str) -> int:
    return int(output.partition("@")[2])
