"""Mixup and cutmix of one batch, as timm draws them per batch: sample i with sample n - 1 - i.

Mixup adds two pictures up, cutmix pastes a box of the one into the other; every picture of a sample
has the same box. Targets are mixed by the share of itself that a sample keeps. Legend: b samples,
h height, w width.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How the samples of a batch are mixed."""

    share: float
    """Of itself that a sample keeps, before a box is cut off at an edge."""
    partners: NDArray[np.int64]
    """Place of the sample that each is mixed with."""
    centre: tuple[float, float] | None = None
    """Of the box, as shares of height and width; none: mixup."""

    def within(self, places: NDArray[np.int64]) -> "Mix":
        """For some samples of the batch alone, which have their partners among them."""
        where = {place: index for index, place in enumerate(places.tolist())}
        partners = [where[self.partners[place]] for place in places.tolist()]
        return replace(self, partners=np.array(partners, np.int64))

    def mixed(self, x: Tensor) -> Tensor:
        """(b, …, h, w)."""
        other = x[torch.from_numpy(self.partners).to(x.device)]
        if self.centre is None:
            return x * self.share + other * (1 - self.share)
        top, bottom, left, right = self.box(x.shape[-2], x.shape[-1])
        mixed = x.clone()
        mixed[..., top:bottom, left:right] = other[..., top:bottom, left:right]
        return mixed

    def share_of(self, x: Tensor) -> float:
        """Of itself that each sample of such a batch keeps: by area, where there is a box."""
        if self.centre is None:
            return self.share
        height, width = x.shape[-2:]
        top, bottom, left, right = self.box(height, width)
        return 1 - (bottom - top) * (right - left) / (height * width)

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, bottom, left, right."""
        assert self.centre is not None
        edges = []
        for size, centre in ((height, self.centre[0]), (width, self.centre[1])):
            half, at = int(size * math.sqrt(1 - self.share)) // 2, int(size * centre)
            edges += [min(max(at - half, 0), size), min(max(at + half, 0), size)]
        return edges[0], edges[1], edges[2], edges[3]


def drawn_mix(mixup: float, cutmix: float, size: int, seed: tuple[int, ...]) -> Mix | None:
    """Of a batch of so many; with both, one of them, each as often as the other."""
    if not mixup and not cutmix:
        return None
    random = np.random.default_rng((*seed, 2))
    boxed = bool(cutmix) and (not mixup or random.random() < 0.5)
    alpha = cutmix if boxed else mixup
    share = float(random.beta(alpha, alpha))
    centre = (float(random.random()), float(random.random()))
    partners = np.arange(size)[::-1].copy()
    return Mix(share=share, partners=partners, centre=centre if boxed else None)
