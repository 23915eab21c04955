"""Three-dimensional convolutions on grids: one expert a cue, and L3DE's network that joins three.

Grids of the published sizes get the published strides; smaller ones are halved until eight cells
are left. Legend: b clips, c channels, t times, h w height and width.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

CELLS = 8
"""Rows and columns that every expert ends with."""
_PUBLISHED = {
    (16, 16): ((2, 2),),
    (288, 512): ((3, 4), (3, 4), (2, 2), (2, 2)),
}


def strides(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Of the layers of an expert for a grid of this size."""
    if (height, width) in _PUBLISHED:
        return _PUBLISHED[height, width]
    found: list[tuple[int, int]] = []
    while not found or max(height, width) > CELLS:
        step = (1 + (height > CELLS), 1 + (width > CELLS))
        found.append(step)
        height, width = -(-height // step[0]), -(-width // step[1])
    return tuple(found)


def channels(layers: int, last: int) -> tuple[int, ...]:
    """The last layer has `last`, each before half as many, and at least 4."""
    return tuple(max(4, last >> (layers - 1 - layer)) for layer in range(layers))


class Stream(nn.Module):
    """Convolutions with a ReLU after each."""

    def __init__(
        self, into: int, channels: Sequence[int], strides: Sequence[tuple[int, int]]
    ) -> None:
        super().__init__()
        steps = zip(pairwise((into, *channels)), strides, strict=True)
        self.layers = nn.ModuleList(
            nn.Conv3d(a, b, 3, stride=(1, *stride), padding=1) for (a, b), stride in steps
        )

    def forward(self, grid_bcthw: Tensor) -> Tensor:
        for layer in self.layers:
            grid_bcthw = functional.relu(layer(grid_bcthw))
        return grid_bcthw


class Expert(nn.Module):
    """One cue by itself: a stream, its mean, a linear layer."""

    def __init__(self, shape_cthw: tuple[int, int, int, int], last: int, classes: int) -> None:
        super().__init__()
        steps = strides(*shape_cthw[2:])
        self.stream = Stream(shape_cthw[0], channels(len(steps), last), steps)
        self.classes = nn.Linear(last, classes)

    def forward(self, grid_bcthw: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.stream(grid_bcthw).mean((2, 3, 4)))
        return logits


class Joint(nn.Module):
    """L3DE: the streams side by side through three more convolutions, then two linear layers."""

    def __init__(
        self,
        streams: Mapping[str, Stream],
        fused: Sequence[int],
        times: int,
        feature: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(streams)
        into = sum(stream.layers[-1].out_channels for stream in streams.values())  # type: ignore[misc]
        self.fusion = Stream(into, fused, ((1, 1),) * len(fused))
        self.fc1 = nn.Linear(fused[-1] * times * CELLS**2, feature)
        self.fc2 = nn.Linear(feature, classes)

    def forward(self, grids: Mapping[str, Tensor], kept_be: Tensor | None = None) -> Tensor:
        """`kept_be` multiplies the feature: dropout."""
        hidden_be = functional.relu(self.feature(grids))
        logits: Tensor = self.fc2(hidden_be if kept_be is None else hidden_be * kept_be)
        return logits

    def feature(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Before its ReLU."""
        seen = [_cells(stream(grids[name])) for name, stream in self.streams.items()]
        found: Tensor = self.fc1(self.fusion(torch.cat(seen, 1)).flatten(1))
        return found


def _cells(grid_bcthw: Tensor) -> Tensor:
    size = (grid_bcthw.shape[2], CELLS, CELLS)
    return functional.adaptive_avg_pool3d(grid_bcthw, size)
