"""F3Net (Qian et al., ECCV 2020, arXiv 2007.09355): forgeries by frequency.

There is no released code. `BandDetector` is DeepfakeBench's form, which has one of the paper's two
views and published weights; `TwoViews` is the paper's two with attention between them, as
yyk-wew/F3Net wrote it down, which nobody has published weights of; `EnergyMeans` is what of the
second view can be kept of a frame: with it, its learnt filter is a linear layer.
Legend: b frames, c channels, h height, w width, d channels of pooled vectors.
"""

import torch
from torch import Tensor, nn

from extract.networks.frame_network import CLS, LOGIT, FrameNetwork
from extract.networks.frequency import WINDOW, BandEnergies, BandPictures, WindowEnergies
from extract.networks.weights import State, without_prefix
from extract.networks.xception import BLOCKS, Xception, block_of

_COLOURS_IN_BANDS, _BANDS = 12, 6
_UNUSED = "backbone.adjust_channel."
_MIXED = 7
"""The block behind which the two views first look at each other; the second time at the last."""


class EnergyMeans(FrameNetwork):
    """`means` (b, 100): of each coefficient's logarithm over the windows of a frame, by row."""

    def __init__(self) -> None:
        super().__init__({"window": WINDOW})
        self.energies = WindowEnergies()

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        return {"means": torch.stack([self.energies(image).mean(1) for image in images_bchw])}


class Backbone(Xception):
    """With the last layer: real, generated."""

    def __init__(self, divisor: int) -> None:
        super().__init__(_COLOURS_IN_BANDS, divisor=divisor)
        self.last_linear = nn.Sequential(nn.Dropout(0.5), nn.Linear(self.out, 2))


class BandDetector(FrameNetwork):
    """Bands of a picture through one Xception; above 0 is generated."""

    last, generated = "backbone.last_linear.1", 1

    def __init__(self, size: int = 256, divisor: int = 1) -> None:
        super().__init__({"size": size, "divisor": divisor})
        self.FAD_head = BandPictures(size)
        self.backbone = Backbone(divisor)

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        x_bchw = self.backbone.begin(self.FAD_head(images_bchw))
        pooled_bd = self.backbone.pooled(self.backbone.between(x_bchw, 1, BLOCKS))
        two = self.backbone.last_linear(pooled_bd)
        return {CLS: pooled_bd, LOGIT: two[:, 1:] - two[:, :1]}

    def layer_of(self, name: str) -> int:
        """0 filters and stem, then a block each, what follows them, the last layer."""
        return _layer(name, "backbone.last_linear.")


class Mix(nn.Module):
    """Two maps of one size, each with what the other has at places where they agree."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.FAD_query = nn.Conv2d(channels, channels, 1)
        self.LFS_query = nn.Conv2d(channels, channels, 1)
        self.FAD_key = nn.Conv2d(channels, channels, 1)
        self.LFS_key = nn.Conv2d(channels, channels, 1)
        self.FAD_gamma = nn.Parameter(torch.zeros(1))
        self.LFS_gamma = nn.Parameter(torch.zeros(1))
        self.FAD_conv = nn.Conv2d(channels, channels, 1, groups=channels)
        self.FAD_bn = nn.BatchNorm2d(channels)
        self.LFS_conv = nn.Conv2d(channels, channels, 1, groups=channels)
        self.LFS_bn = nn.BatchNorm2d(channels)

    def forward(self, first_bchw: Tensor, second_bchw: Tensor) -> tuple[Tensor, Tensor]:
        query = torch.cat([self.FAD_query(first_bchw), self.LFS_query(second_bchw)], -1)
        key = torch.cat([self.FAD_key(first_bchw), self.LFS_key(second_bchw)], -1)
        attention = (query @ key.transpose(-1, -2)).softmax(-1)
        from_second = second_bchw * attention * (2 * torch.sigmoid(self.LFS_gamma) - 1)
        from_first = first_bchw * attention * (2 * torch.sigmoid(self.FAD_gamma) - 1)
        return (
            first_bchw + self.FAD_bn(self.FAD_conv(from_second)),
            second_bchw + self.LFS_bn(self.LFS_conv(from_first)),
        )


class TwoViews(FrameNetwork):
    """Bands and local energies, an Xception each, mixed twice; above 0 is generated."""

    last = "fc"

    def __init__(self, size: int = 299, divisor: int = 1) -> None:
        super().__init__({"size": size, "divisor": divisor})
        self.FAD_head, self.LFS_head = BandPictures(size), BandEnergies()
        self.FAD_xcep = Xception(_COLOURS_IN_BANDS, divisor=divisor)
        self.LFS_xcep = Xception(_BANDS, stride=1, divisor=divisor)
        self.mixBlock7 = Mix(728 // divisor)
        self.mixBlock12 = Mix(1024 // divisor)
        self.dp = nn.Dropout(0.2)
        self.fc = nn.Linear(2 * self.FAD_xcep.out, 1)

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        bands = self.FAD_xcep.begin(self.FAD_head(images_bchw))
        energies = self.LFS_xcep.begin(self.LFS_head(images_bchw))
        steps = ((1, _MIXED, self.mixBlock7), (_MIXED + 1, BLOCKS, self.mixBlock12))
        for first, last, mix in steps:
            bands = self.FAD_xcep.between(bands, first, last)
            bands, energies = mix(bands, self.LFS_xcep.between(energies, first, last))
        pooled_bd = torch.cat([self.FAD_xcep.pooled(bands), self.LFS_xcep.pooled(energies)], 1)
        return {CLS: pooled_bd, LOGIT: self.fc(self.dp(pooled_bd))}

    def layer_of(self, name: str) -> int:
        """As a single view's; what mixes lies with the block before it."""
        if name.startswith("mixBlock"):
            return int(name.partition(".")[0].removeprefix("mixBlock"))
        return _layer(name, "fc.")


def released_names(state: State) -> State:
    """Of DeepfakeBench's checkpoints, without the layer that F3Net does not use."""
    whole = without_prefix(state, ("module.",))
    return {key: value for key, value in whole.items() if not key.startswith(_UNUSED)}


def _layer(name: str, last: str) -> int:
    if name.startswith(last):
        return BLOCKS + 2
    part, _, rest = name.partition(".")
    return 0 if part.endswith("_head") else block_of(rest)
