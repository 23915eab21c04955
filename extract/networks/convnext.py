"""ConvNeXt (Liu et al., CVPR 2022), with timm's names.

Legend: b images, c channels, h height, w width, k classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNextConfig:
    """How many blocks, how wide; its tiny form as it stands."""

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    patch: int = 4
    classes: int = 1000


class ChannelNorm(nn.LayerNorm):
    """Over the channels of every place of a map."""

    def forward(self, x_bchw: Tensor) -> Tensor:
        return super().forward(x_bchw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Wider and narrower, at every place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return found


class Block(nn.Module):
    """Each channel over its neighbourhood, then all channels of a place, added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.mlp = Mlp(width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x_bchw: Tensor) -> Tensor:
        x_bhwc = self.norm(self.conv_dw(x_bchw).permute(0, 2, 3, 1))
        added: Tensor = self.mlp(x_bhwc) * self.gamma
        return x_bchw + added.permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Half as large where it is not the first, then some blocks."""

    def __init__(self, into: int, width: int, depth: int) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if into != width:
            halved = nn.Conv2d(into, width, 2, stride=2)
            self.downsample = nn.Sequential(ChannelNorm(into, eps=_EPS), halved)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))

    def forward(self, x_bchw: Tensor) -> Tensor:
        found: Tensor = self.blocks(self.downsample(x_bchw))
        return found


class Head(nn.Module):
    """What names ImageNet's classes."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.fc = nn.Linear(width, classes)

    def forward(self, pooled_bc: Tensor) -> Tensor:
        found: Tensor = self.fc(self.norm(pooled_bc))
        return found


class ConvNext(nn.Module):
    """Pictures → a number for each class (b, k)."""

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        first, patch = config.widths[0], config.patch
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, patch, stride=patch), ChannelNorm(first, eps=_EPS)
        )
        sizes = zip((first, *config.widths), config.widths, config.depths, strict=False)
        self.stages = nn.Sequential(*(Stage(*each) for each in sizes))
        self.head = Head(config.widths[-1], config.classes)

    def pooled(self, images_bchw: Tensor) -> Tensor:
        """(b, c): the mean of the last map."""
        found: Tensor = self.stages(self.stem(images_bchw)).mean((2, 3))
        return found

    def forward(self, images_bchw: Tensor) -> Tensor:
        found: Tensor = self.head(self.pooled(images_bchw))
        return found
