"""Xception (Chollet 2017): a network of convolutions that look at each channel by itself.

Names are those of Cadene's pretrained models, which DeepfakeBench took over. Legend: b images,
c channels, h height, w width.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (32, 64, 128, 256, 728, 1024, 1536, 2048)
BLOCKS = 12
_MIDDLE = range(4, BLOCKS)


class SeparableConv(nn.Module):
    """Each channel over its neighbourhood, then all channels of a pixel."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, into, 3, padding=1, groups=into, bias=False)
        self.pointwise = nn.Conv2d(into, out, 1, bias=False)

    def forward(self, x_bchw: Tensor) -> Tensor:
        found: Tensor = self.pointwise(self.conv1(x_bchw))
        return found


class Block(nn.Module):
    """Some such convolutions, added to a shortcut; half as large where `halves`."""

    def __init__(self, widths: tuple[int, ...], *, halves: bool, begins_with_relu: bool) -> None:
        super().__init__()
        into, out = widths[0], widths[-1]
        parts: list[nn.Module] = []
        for one, other in pairwise(widths):
            parts += [nn.ReLU(), SeparableConv(one, other), nn.BatchNorm2d(other)]
        if not begins_with_relu:
            del parts[0]
        if halves:
            parts.append(nn.MaxPool2d(3, 2, 1))
            self.skip = nn.Conv2d(into, out, 1, stride=2, bias=False)
            self.skipbn = nn.BatchNorm2d(out)
        self.halves = halves
        self.rep = nn.Sequential(*parts)

    def forward(self, x_bchw: Tensor) -> Tensor:
        shortcut = self.skipbn(self.skip(x_bchw)) if self.halves else x_bchw
        found: Tensor = self.rep(x_bchw)
        return found + shortcut


class Xception(nn.Module):
    """Pictures of any number of channels → a map, in three parts, so that others may come between.
    What classifies is not here."""

    def __init__(self, channels: int, stride: int = 2, divisor: int = 1) -> None:
        super().__init__()
        first, second, *sizes, middle, wide, wider, last = (w // divisor for w in WIDTHS)
        self.out = last
        self.conv1 = nn.Conv2d(channels, first, 3, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        into = second
        for number, out in enumerate((*sizes, middle), 1):
            block = Block((into, out, out), halves=True, begins_with_relu=number > 1)
            self.add_module(f"block{number}", block)
            into = out
        for number in _MIDDLE:
            block = Block((middle,) * 4, halves=False, begins_with_relu=True)
            self.add_module(f"block{number}", block)
        self.block12 = Block((middle, middle, wide), halves=True, begins_with_relu=True)
        self.conv3 = SeparableConv(wide, wider)
        self.bn3 = nn.BatchNorm2d(wider)
        self.conv4 = SeparableConv(wider, last)
        self.bn4 = nn.BatchNorm2d(last)

    def begin(self, images_bchw: Tensor) -> Tensor:
        x_bchw = functional.relu(self.bn1(self.conv1(images_bchw)))
        return functional.relu(self.bn2(self.conv2(x_bchw)))

    def between(self, x_bchw: Tensor, first: int, last: int) -> Tensor:
        """Blocks `first` to `last`."""
        for number in range(first, last + 1):
            x_bchw = self.get_submodule(f"block{number}")(x_bchw)
        return x_bchw

    def pooled(self, x_bchw: Tensor) -> Tensor:
        """(b, c): what follows the blocks, and its mean."""
        x_bchw = functional.relu(self.bn3(self.conv3(x_bchw)))
        return functional.relu(self.bn4(self.conv4(x_bchw))).mean((2, 3))


def block_of(name: str) -> int:
    """How deep a parameter of an Xception lies: 0 its stem, a block each, 13 what follows."""
    first = name.partition(".")[0]
    if first.startswith("block"):
        return int(first.removeprefix("block"))
    return 0 if first in ("conv1", "bn1", "conv2", "bn2") else BLOCKS + 1
