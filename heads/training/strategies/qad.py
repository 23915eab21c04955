"""QAD (ICCV 2023) on cached vectors: one head for every quality that videos are met in.

Each video is learnt from at two qualities at once, the same views of it under two protocols
(`train --also train-8+jpeg50`). Beside the loss of both, hidden layers are to keep the geometry
between videos: what is alike at one quality is alike at the other (HSIC, of the kernels that its
usual source has). The gradient is taken at perturbed weights (`awp`).

QAD's own code could not be had. That its layers' dependence is maximised by HSIC and that weights
are perturbed is from its abstract, the kernel's width and that deeper layers weigh more from its
configurations; the estimator, its weight and which layers of a small head stand for which of a
large network are inferred. `consistency=distance` is the plain control: the same layer's numbers
are to be near each other, video by video.
Legend: m videos, d channels.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from heads.errors import BadSetting
from heads.training.config import Epoch
from heads.training.strategies.awp import Awp, AwpOptions
from heads.training.strategy import Lesson, Step, activations

_BY_DEPTH = (0.1, 0.25, 0.5)
"""Of the hidden layers, the last one last; more of them weigh nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QadOptions(AwpOptions):
    """What counts beside the loss at both qualities."""

    alpha: float = 0.1
    """Weight of the consistency; 0: none."""
    consistency: Literal["normalised", "unbiased", "distance"] = "normalised"
    """HSIC by its own scale, HSIC without the bias of few videos, or the distance as a control."""
    sigma: float = 6.0
    """Width of the kernel, in root mean square distances of standardised numbers."""

    def __post_init__(self) -> None:
        AwpOptions.__post_init__(self)
        if self.alpha < 0 or self.sigma <= 0:
            raise BadSetting(
                f"alpha={self.alpha:g}, sigma={self.sigma:g}: give 0 or more, above 0."
            )


def square_distances(z_md: Tensor) -> Tensor:
    """(m, m), never below 0."""
    squares = z_md.square().sum(1)
    return (squares[:, None] + squares - 2 * z_md @ z_md.T).abs()


def kernel(z_md: Tensor, sigma: float) -> Tensor:
    """A Gaussian of distances by the number of channels, (m, m)."""
    return torch.exp(-square_distances(z_md) / (2 * sigma**2 * z_md.shape[1]))


def hsic(k_mm: Tensor, l_mm: Tensor) -> Tensor:
    """The released estimator: the trace of both centred kernels' product by the number of pairs."""
    return (centred(k_mm) * centred(l_mm).T).mean()


def centred(k_mm: Tensor) -> Tensor:
    """Rows less their means."""
    return k_mm - k_mm.mean(1, keepdim=True)


def normalised_hsic(k_mm: Tensor, l_mm: Tensor) -> Tensor:
    """By what each kernel has with itself: 1 where they agree."""
    return hsic(k_mm, l_mm) / (hsic(k_mm, k_mm) * hsic(l_mm, l_mm)).sqrt()


def unbiased_hsic(k_mm: Tensor, l_mm: Tensor) -> Tensor:
    """Song and others', 2012: few videos do not raise it."""
    m = len(k_mm)
    k, l_ = (each - torch.diag(each.diag()) for each in (k_mm, l_mm))
    sums = k.sum() * l_.sum() / ((m - 1) * (m - 2)) - 2 / (m - 2) * (k.sum(0) @ l_.sum(1))
    return ((k * l_.T).sum() + sums) / (m * (m - 3))


class Qad(Awp):
    """See the module."""

    name = "qad"
    Options = QadOptions
    hidden_layers = 1
    takes_mixup = False
    options: QadOptions

    def __init__(self, options: QadOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        if self.samples.qualities < 2:
            raise BadSetting(
                "Strategy qad learns from the same views at two qualities or more; add perturbed "
                "ones: --also train-8+jpeg50 (telltale extract --protocol makes them)."
            )
        if self.config.views != "random" or self.config.repeat != 2:
            raise BadSetting("Strategy qad looks at each video twice: --set repeat=2.")

    def order(self, order: Epoch) -> Epoch:
        """The second look is at the same view as the first, in another quality."""
        if not self.options.alpha:
            return order
        qualities = self.samples.qualities
        each = self.samples.views // qualities
        views = order.views.copy()
        further = self.random.integers(1, qualities, len(views) // 2)
        quality = (views[::2] // each + further) % qualities
        views[1::2] = quality * each + views[::2] % each
        return replace(order, views=views)

    def loss(self, step: Step) -> Tensor:
        if not self.options.alpha:
            return super().loss(step)
        _, *hidden, logits = activations(self.model, step.batch)
        total = self.combined(logits, step)
        weights = _BY_DEPTH[-len(hidden) :]
        for weight, layer in zip(weights, hidden[-len(weights) :], strict=True):
            total = total - self.options.alpha * weight * self._agreement(layer[::2], layer[1::2])
        return total

    def _agreement(self, one_md: Tensor, other_md: Tensor) -> Tensor:
        if self.options.consistency == "distance":
            return -(one_md - other_md).square().mean()
        deviation = torch.cat([one_md, other_md]).detach().std(0, correction=0).clamp_min(1e-6)
        kernels = (kernel(each / deviation, self.options.sigma) for each in (one_md, other_md))
        if self.options.consistency == "unbiased":
            return unbiased_hsic(*kernels)
        return normalised_hsic(*kernels)


STRATEGY = Qad
