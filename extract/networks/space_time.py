"""Space first, then time: convolutions over a clip's grid of tokens.

Legend: b batch, t frames, h height, w width, n tokens, d channels, e the layer's channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.networks import weights


class SpaceTimeLayer(nn.Module):
    """One look at space and one at time, beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.spatial = nn.Conv3d(channels, channels, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.temporal = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False)

    def forward(self, x_bethw: Tensor) -> Tensor:
        seen = functional.gelu(self.spatial(self.norm(x_bethw)))
        result: Tensor = x_bethw + functional.gelu(self.temporal(seen))
        return result


class SpaceTimeAdapter(nn.Module):
    """Adds to a transformer's last tokens what such a layer sees in them; at first nothing.

    Joint attention has no weights of its own for space or for time. Here they are apart, so that
    they can learn in turns.
    """

    def __init__(self, width: int, channels: int, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.grid = grid
        """Frames, rows, columns."""
        self.norm = nn.LayerNorm(width)
        self.reduce = nn.Linear(width, channels)
        self.layer = SpaceTimeLayer(channels)
        self.expand = nn.Linear(channels, width)

    @property
    def channels(self) -> int:
        return self.reduce.out_features

    def start(self, seed: int) -> None:
        """Random weights that leave the tokens as they are."""
        weights.seeded(self, seed)
        for parameter in self.expand.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens_bnd: Tensor) -> Tensor:
        """The class token stays as it is."""
        cls_b1d, grid_bnd = tokens_bnd[:, :1], tokens_bnd[:, 1:]
        reduced = self.reduce(self.norm(grid_bnd)).unflatten(1, self.grid)
        seen = self.layer(reduced.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return torch.cat([cls_b1d, grid_bnd + self.expand(seen.flatten(1, 3))], 1)
