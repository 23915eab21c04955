"""A (2+1)D convolutional head on cached tokens: where things are, then how they move.

Tokens are laid out again as frames, rows and columns; each layer looks at 3 x 3 neighbours within
a frame (1,3,3), then at the frames before and after (3,1,1). With `alternate` the two kinds of
weights learn in turns (AltFreezing). `tokens=tokens:4x4` takes the sixteen times smaller array.
Legend: b batch, t frames, h height, w width, n tokens, d channels, e the layers' channels.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from extract.networks import weights
from extract.networks.space_time import SpaceTimeLayer
from extract.views.sampling import CLIP_FRAMES
from features_store.table import Table
from heads.errors import BadBundle, BadSetting, BadTable
from heads.parts import arrays
from heads.parts.arrays import DEPTH, TOKENS
from heads.parts.space import OneOf, Range, Space
from heads.parts.tokens import TokenHead, TokenModel, token_rows
from heads.training.alternate import Alternation
from heads.training.config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceTimeConfig(TrainConfig):
    """The layers, and how they are trained."""

    depth: bool = True
    """See the depth branch too."""
    tokens: Literal["tokens", "tokens:4x4"] = "tokens"
    """Which array of the video branch."""
    channels: int = 64
    """Of the layers."""
    layers: int = 2
    alternate: str | None = None
    """Such as spatial:temporal=1:20: one step for spatial weights, twenty for temporal ones."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if self.mixup or self.dropout:
            raise BadSetting("spacetime has no mixup and no dropout: tokens are taken as they are.")
        if self.channels < 1 or self.layers < 1:
            raise BadSetting(f"channels={self.channels}, layers={self.layers}: give 1 or more.")
        if self.alternate is not None:
            Alternation.parse(self.alternate)


class SpaceTimeNet(nn.Module):
    """Tokens and depth vectors → logits."""

    def __init__(self, width: int, depth: int, classes: int, config: SpaceTimeConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.reduce = nn.Linear(width, config.channels)
        self.layers = nn.ModuleList(SpaceTimeLayer(config.channels) for _ in range(config.layers))
        self.depth_norm = nn.LayerNorm(depth) if depth else nn.Identity()
        self.classes = nn.Linear(config.channels + width + depth, classes)

    def forward(self, tokens_bnd: Tensor, depth_bd: Tensor) -> Tensor:
        tokens_bnd = self.norm(tokens_bnd)
        x_bethw = grid(self.reduce(tokens_bnd[:, 1:])).permute(0, 4, 1, 2, 3)
        for layer in self.layers:
            x_bethw = layer(x_bethw)
        pooled = [x_bethw.mean((2, 3, 4)), tokens_bnd[:, 0], self.depth_norm(depth_bd)]
        logits: Tensor = self.classes(torch.cat(pooled, -1))
        return logits

    def kind(self, name: str) -> list[Tensor]:
        """Weights that are `spatial` or `temporal`."""
        return [p for path, p in self.named_parameters() if f".{name}." in path]


def grid(tokens_bnd: Tensor) -> Tensor:
    """(b, t, h, w, d), without the class token."""
    side = math.isqrt(tokens_bnd.shape[1] // CLIP_FRAMES)
    if CLIP_FRAMES * side**2 != tokens_bnd.shape[1]:
        raise BadTable(
            f"{tokens_bnd.shape[1]} tokens are not {CLIP_FRAMES} square frames; give tokens of "
            f"internvideo2."
        )
    return tokens_bnd.reshape(len(tokens_bnd), CLIP_FRAMES, side, side, -1)


class SpaceTimeModel(TokenModel):
    """The network, and whose turn it is."""

    def __init__(self, net: SpaceTimeNet, key: str, alternation: Alternation | None) -> None:
        super().__init__(key)
        self.net = net
        self._alternation = alternation
        self._step = 0

    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        named = list(self.net.parameters())
        return [p for p in named if p.ndim > 1], [p for p in named if p.ndim <= 1]

    def state(self) -> dict[str, Tensor]:
        return dict(self.net.state_dict(keep_vars=True))

    def token_logits(self, tokens_bnd: Tensor, depth_bd: Tensor, *, training: bool) -> Tensor:
        if training and self._alternation is not None:
            spatial, temporal = self.net.kind("spatial"), self.net.kind("temporal")
            self._alternation.freeze(self._step, spatial, temporal)
            self._step += 1
        logits: Tensor = self.net(tokens_bnd, depth_bd)
        return logits


class SpaceTime(TokenHead[SpaceTimeModel]):
    """See the module."""

    name = "spacetime"
    Config = SpaceTimeConfig
    SPACE: ClassVar[Space] = {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "weight_decay": Range(low=1e-3, high=0.5, log=True),
        "smoothing": Range(low=0.0, high=0.3),
        "rank_loss": OneOf(("true", "false")),
    }
    lazy = (TOKENS, "internvideo2/tokens:4x4")
    config: SpaceTimeConfig

    @property
    def keys(self) -> tuple[str, ...]:
        return (self._key, DEPTH) if self.config.depth else (self._key,)

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        try:
            width = found["norm.weight"].shape[0]
            seen = found["classes.weight"].shape[1]
        except (KeyError, IndexError) as error:
            raise BadBundle(f"{path} is no spacetime head ({error}).") from error
        model = self._sized(width, seen - width - self.config.channels, 0)
        arrays.filled(found, model.state(), path)
        self.model = model

    def new_model(self, table: Table, seed: int, device: str) -> SpaceTimeModel:
        depth = arrays.widths(table, (DEPTH,))[DEPTH] if self.config.depth else 0
        model = self._sized(token_rows(table, self._key).shape[-1], depth, seed)
        model.net.to(device)
        return model

    def _sized(self, width: int, depth: int, seed: int) -> SpaceTimeModel:
        if depth < 0:
            raise BadBundle("This spacetime head was made with other settings than it is read by.")
        net = SpaceTimeNet(width, depth, len(self.classes), self.config)
        weights.seeded(net, seed)
        alternate = self.config.alternate
        alternation = None if alternate is None else Alternation.parse(alternate)
        return SpaceTimeModel(net, self._key, alternation)

    @property
    def _key(self) -> str:
        return f"internvideo2/{self.config.tokens}"


HEAD = SpaceTime
