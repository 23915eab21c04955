"""MTCNN's three networks, under the names of facenet-pytorch's files.

Each says of a picture how likely it is a face, and by how much of its sides the corners of the box
should move. Legend: n pictures, c channels, h height, w width, d numbers.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Stack(nn.Module):
    """Convolutions, each with a PReLU; pools between them keep the odd pixel at the end."""

    def __init__(self, channels: Sequence[int], kernels: Sequence[int]) -> None:
        super().__init__()
        self._layers = len(kernels)
        sizes = zip((3, *channels), channels, kernels, strict=False)
        for number, (into, out, kernel) in enumerate(sizes, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(into, out, kernel))
            self.add_module(f"prelu{number}", nn.PReLU(out))

    def seen(self, x_nchw: Tensor, pools: Sequence[int]) -> Tensor:
        """`pools`: the side of the pool after each of the first layers."""
        for number in range(1, self._layers + 1):
            x_nchw = self.get_submodule(f"conv{number}")(x_nchw)
            x_nchw = self.get_submodule(f"prelu{number}")(x_nchw)
            if number <= len(pools):
                x_nchw = functional.max_pool2d(x_nchw, pools[number - 1], 2, ceil_mode=True)
        return x_nchw


class Sliding(_Stack):
    """The first: an answer for every second pixel of a picture of any size."""

    def __init__(self) -> None:
        super().__init__((10, 16, 32), (3, 3, 3))
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        x_nchw = self.seen(x_nchw, (2,))
        return self.conv4_2(x_nchw), self.conv4_1(x_nchw).softmax(1)


class Narrow(_Stack):
    """The second, of pictures of 24 pixels."""

    SIDE: ClassVar[int] = 24

    def __init__(self) -> None:
        super().__init__((28, 48, 64), (3, 3, 2))
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        x_nd = _by_columns(self.seen(x_nchw, (3, 3)))
        x_nd = self.prelu4(self.dense4(x_nd))
        return self.dense5_2(x_nd), self.dense5_1(x_nd).softmax(1)


class Wide(_Stack):
    """The third, of pictures of 48 pixels: five points too, all x before all y."""

    SIDE: ClassVar[int] = 48

    def __init__(self) -> None:
        super().__init__((32, 64, 64, 128), (3, 3, 3, 2))
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2 = nn.Linear(256, 2), nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x_nd = _by_columns(self.seen(x_nchw, (3, 3, 2)))
        x_nd = self.prelu5(self.dense5(x_nd))
        return self.dense6_2(x_nd), self.dense6_3(x_nd), self.dense6_1(x_nd).softmax(1)


def _by_columns(x_nchw: Tensor) -> Tensor:
    """In the order of the weights: column by column, channels last."""
    return torch.flatten(x_nchw.permute(0, 3, 2, 1), 1)
