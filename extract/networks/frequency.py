"""Pictures by frequency, as F3Net takes them apart (Qian et al., ECCV 2020, arXiv 2007.09355).

There is no released code; bands and scales are those of yyk-wew/F3Net, which DeepfakeBench took
over. Legend: b images, c channels, h height, w width, n windows, k coefficients, m bands.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOW, STRIDE, AROUND, BANDS = 10, 2, 4, 6
_SCALE = 122.5
_LEAST = 1e-15
_GREY = (0.299, 0.587, 0.114)


def dct(size: int) -> Tensor:
    """The orthonormal cosine transform: row i is frequency i."""
    places = torch.arange(size, dtype=torch.float64)
    waves = torch.cos(math.pi * places[:, None] * (places + 0.5) / size)
    waves *= math.sqrt(2 / size)
    waves[0] = math.sqrt(1 / size)
    return waves.float()


def band(size: int, first: float, last: float) -> Tensor:
    """1 where the two frequencies add up to `first` to `last`, both included."""
    sums = torch.arange(size)[:, None] + torch.arange(size)
    return ((sums >= first) & (sums <= last)).float()


class Filter(nn.Module):
    """A band, and what is learnt beside it, everywhere."""

    base: Tensor

    def __init__(self, size: int, first: float, last: float) -> None:
        super().__init__()
        self.register_buffer("base", band(size, first, last))
        self.learnable = nn.Parameter(torch.randn(size, size) * 0.1)

    @property
    def weight(self) -> Tensor:
        return self.base + 2 * torch.sigmoid(self.learnable) - 1


class BandPictures(nn.Module):
    """Square pictures of three colours → the same in four bands, twelve channels."""

    _DCT_all: Tensor
    _DCT_all_T: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("_DCT_all", dct(size))
        self.register_buffer("_DCT_all_T", dct(size).T.contiguous())
        low, middle = size // 2.82, size // 2
        ends = ((0, low), (low, middle), (middle, 2 * size), (0, 2 * size))
        self.filters = nn.ModuleList(Filter(size, *pair) for pair in ends)

    def forward(self, images_bchw: Tensor) -> Tensor:
        with _whole_precision(images_bchw):
            seen = self._DCT_all @ images_bchw.float() @ self._DCT_all_T
            weights = [each.weight for each in self.filters if isinstance(each, Filter)]
            parts = [self._DCT_all_T @ (seen * weight) @ self._DCT_all for weight in weights]
            return torch.cat(parts, 1)


class WindowEnergies(nn.Module):
    """Pictures in -1…1 → the logarithm of every coefficient's size in small windows."""

    def forward(self, image_chw: Tensor) -> Tensor:
        """(k, n) of one picture; around it, it is black."""
        with _whole_precision(image_chw):
            red, green, blue = image_chw.float()
            grey_hw = (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue + 1) * _SCALE
            windows_kn = functional.unfold(
                grey_hw[None, None], WINDOW, padding=AROUND, stride=STRIDE
            )[0]
            one = dct(WINDOW).to(image_chw.device)
            seen: Tensor = torch.kron(one, one) @ windows_kn
            return (seen.abs() + _LEAST).log10()


class BandEnergies(nn.Module):
    """Square pictures → a map of the mean logarithm in each of six bands."""

    def __init__(self) -> None:
        super().__init__()
        ends = [2 * WINDOW * number / BANDS for number in range(BANDS + 1)]
        pairs = pairwise(ends)
        self.filters = nn.ModuleList(Filter(WINDOW, *pair) for pair in pairs)
        self.energies = WindowEnergies()

    @property
    def _weight_mk(self) -> Tensor:
        each = [one for one in self.filters if isinstance(one, Filter)]
        return torch.stack([one.weight.flatten() / one.base.sum() for one in each])

    def forward(self, images_bchw: Tensor) -> Tensor:
        """(b, m, h, w), one place a window."""
        with _whole_precision(images_bchw):
            maps = [self._weight_mk @ self.energies(image) for image in images_bchw]
        side = math.isqrt(maps[0].shape[-1])
        return torch.stack(maps).reshape(len(maps), BANDS, side, side)


def _whole_precision(like: Tensor) -> torch.autocast:
    """Logarithms of small differences are no matter for half precision."""
    return torch.autocast(like.device.type, enabled=False)
