"""Neighbouring pixel relationships (Tan et al., CVPR 2024, arXiv 2312.10461): what up-sampling
leaves in every 2 x 2 pixels.

Every pixel less the top left one of its block goes through the first half of a ResNet-50. Legend:
b images, c channels, h height, w width, d channels of the pooled vector.
"""

import torch
from torch import Tensor

from extract.networks.frame_network import FrameNetwork
from extract.networks.resnet import ResNet, ResNetConfig

LEVELS = (0.5, 1.5, 2.5, 4.5, 8.5, 16.5)
"""Between them lie the classes of differences, in grey levels, that `shares` counts."""
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1))


def residual(images_bchw: Tensor) -> Tensor:
    """Each pixel less the top left one of its 2 x 2 block; an odd last row or column is cut."""
    height, width = (size // 2 * 2 for size in images_bchw.shape[-2:])
    even = images_bchw[..., :height, :width]
    corners = even[..., ::2, ::2]
    return even - corners.repeat_interleave(2, -2).repeat_interleave(2, -1)


def shares(levels_bchw: Tensor) -> Tensor:
    """(b, 63) of grey levels 0…255: for each colour and each of the other three pixels of a block,
    the share of blocks whose difference is 0, 1, 2, 3 to 4, 5 to 8, 9 to 16, or more."""
    found = residual(levels_bchw).abs()
    three_nbchw = torch.stack([found[..., row::2, column::2] for row, column in _NEIGHBOURS])
    above = [(three_nbchw > level).float().mean((-2, -1)) for level in LEVELS]
    one, none = torch.ones_like(above[0]), torch.zeros_like(above[0])
    steps = torch.stack([one, *above, none], -1)
    return (steps[..., :-1] - steps[..., 1:]).permute(1, 2, 0, 3).flatten(1)


class Npr(ResNet):
    """The released network: above 0 is generated."""

    def __init__(self, width: int = 64) -> None:
        super().__init__(ResNetConfig(blocks=(3, 4), width=width, stem=3), last="fc1")

    def pooled(self, images_bchw: Tensor) -> Tensor:
        return super().pooled(residual(images_bchw) * 2.0 / 3.0)


class Residual(FrameNetwork):
    """What the residual says without a network: `shares` of grey levels."""

    def __init__(self) -> None:
        super().__init__({"levels": list(LEVELS)})

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        return {"shares": shares(images_bchw)}
