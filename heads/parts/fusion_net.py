"""HumanSAM's fusion head as arithmetic: the video vector, the depth vector, and alpha between them.

    video = [down_norm(cls, avg), fc_norm(attn)]                      F numbers
            or [down_norm(avg), fc_norm(attn)], as the paper's equation 3 has it
    logits = classes(alpha * fc1(video) + (1 - alpha) * depth)

Nothing non-linear lies between fc1 and the classes, so their matrices are multiplied first
(classes x F): the same function and gradients, and the wide product is never made per sample.

Every function here also takes a leading axis of heads, K: parameters (K, …), inputs (K, B, …).
Shapes: B samples, E width of cls and avg, A of attn, D of depth, C classes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

DOWN_NORM_EPS = 1e-6
FC_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1
NOT_DECAYED = ("bias", "fc_norm.weight", "alpha")
"""Ends of the names of parameters that weight decay leaves alone."""

SIGMOID = "alpha.sigmoid"
"""Of heads whose alphas are not all alike: (K, 1), whether it goes through a sigmoid."""

Parameters = Mapping[str, Tensor]
AlphaMode = Literal["free", "sigmoid", "fixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which columns of the feature matrix are what, and what is used of them."""

    width: int
    """E; 0 without cls and avg."""
    pooled: int = 2
    """How many vectors of E numbers there are: cls and avg, or avg alone."""
    attn: int
    depth: int
    """D; 0 without the depth branch."""
    hidden: int
    """What fc1 makes; equal to D where there is depth."""
    down_norm: Literal["bn", "ln", "none"] = "bn"
    alpha: AlphaMode = "free"

    @property
    def normed(self) -> int:
        """Columns before attn's."""
        return self.pooled * self.width

    @property
    def video(self) -> int:
        return self.normed + self.attn

    @property
    def columns(self) -> int:
        return self.video + self.depth


def initial(layout: Layout, classes: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Parameters and buffers of one head, drawn as torch's own layers draw them."""

    def drawn(into: int, *shape: int) -> Tensor:
        bound = 1 / math.sqrt(into)
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)

    alpha = 0.0 if layout.alpha == "sigmoid" else 0.5
    state = {
        "fc_norm.weight": torch.ones(layout.attn),
        "fc_norm.bias": torch.zeros(layout.attn),
        "fc1.weight": drawn(layout.video, layout.hidden, layout.video),
        "fc1.bias": drawn(layout.video, layout.hidden),
        "alpha": torch.tensor([alpha]),
        "classes.weight": drawn(layout.hidden, classes, layout.hidden),
        "classes.bias": drawn(layout.hidden, classes),
    }
    if layout.width and layout.down_norm == "bn":
        state["down_norm.running_mean"] = torch.zeros(layout.width)
        state["down_norm.running_var"] = torch.ones(layout.width)
    return state


def mixing(parameters: Parameters, layout: Layout) -> Tensor:
    """Alpha, ready to multiply (…, B, C)."""
    alpha = parameters["alpha"].unsqueeze(-1)
    if SIGMOID in parameters:
        return torch.where(parameters[SIGMOID].unsqueeze(-1), alpha.sigmoid(), alpha)
    return alpha.sigmoid() if layout.alpha == "sigmoid" else alpha


def vectors(
    parameters: Parameters,
    x: Tensor,
    layout: Layout,
    statistics: "BatchStatistics | None" = None,
    keep: Tensor | None = None,
) -> Tensor:
    """The video vector before fc_norm's weight and bias: (…, B, columns) → (…, B, F). With
    `statistics` by the batch's own; `keep` are dropout's factors."""
    video = plain_norm(x[..., layout.normed : layout.video])
    if layout.width:
        pairs = x[..., : layout.normed].reshape(*x.shape[:-1], layout.pooled, layout.width)
        if layout.down_norm == "bn":
            if statistics is None:
                mean = parameters["down_norm.running_mean"]
                variance = parameters["down_norm.running_var"]
            else:
                mean, variance = statistics.of(pairs)
            scale = (variance + DOWN_NORM_EPS).rsqrt()
            pairs = (pairs - mean[..., None, None, :]) * scale[..., None, None, :]
        elif layout.down_norm == "ln":
            pairs = torch.nn.functional.layer_norm(pairs, (layout.width,), eps=DOWN_NORM_EPS)
        video = torch.cat([pairs.flatten(-2), video], -1)
    return dropped(video, keep, slice(0, layout.video), statistics)


class BatchStatistics:
    """Batch normalisation's mean and variance over samples and both of (cls, avg), in training."""

    def __init__(self, state: dict[str, Tensor], present: Tensor | None = None) -> None:
        self._state = state
        self.present = present
        """(…, B): 1 for samples, 0 for what fills a batch up to the others' size."""

    def of(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """The batch's own; the running ones move towards them."""
        flat, present = pairs.flatten(-3, -2), None
        factor: Tensor | float = flat.shape[-2] / max(flat.shape[-2] - 1, 1)
        if self.present is not None:
            present = self.present.repeat_interleave(pairs.shape[-2], -1)
            counts = present.sum(-1, keepdim=True)
            factor = counts / (counts - 1).clamp(min=1)
        mean = mean_of(flat, present)
        variance = mean_of((flat - mean.unsqueeze(-2)).square(), present)
        unbiased = variance * factor
        self._state["down_norm.running_mean"].lerp_(mean.detach(), BATCH_NORM_MOMENTUM)
        self._state["down_norm.running_var"].lerp_(unbiased.detach(), BATCH_NORM_MOMENTUM)
        return mean, variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A batch on its way through the head: its gradient is made of this."""

    vectors: Tensor
    """(…, B, F): of the video."""
    depth: Tensor | None
    """(…, B, D)"""
    weight: Tensor
    """(…, C, F): fc1 and the classes in one."""
    alpha: Tensor | None
    """Where there is depth."""
    ahead: Tensor
    """(…, B, C): the video's logits, less depth's."""
    logits: Tensor
    """(…, B, C)"""


def passed(
    parameters: Parameters,
    x: Tensor,
    layout: Layout,
    statistics: BatchStatistics | None = None,
    depth: Tensor | None = None,
    keep: Tensor | None = None,
) -> Pass:
    """(…, B, columns) through the head. `depth` replaces the depth columns of x; `keep` are
    dropout's factors."""
    video = vectors(parameters, x, layout, statistics, keep)
    classes = parameters["classes.weight"]
    weight = classes @ parameters["fc1.weight"]
    attn = weight[..., layout.normed :]
    scaled = attn * parameters["fc_norm.weight"].unsqueeze(-2)
    scaled = torch.cat([weight[..., : layout.normed], scaled], -1)
    offset = classes @ parameters["fc1.bias"].unsqueeze(-1)
    offset = offset + attn @ parameters["fc_norm.bias"].unsqueeze(-1)
    found = ahead = video @ scaled.mT + offset.mT
    alpha = None
    if layout.depth:
        depth = x[..., layout.video :] if depth is None else depth
        depth = dropped(depth, keep, slice(layout.video, None), statistics)
        alpha, beside = mixing(parameters, layout), depth @ classes.mT
        ahead = found - beside
        found = beside + alpha * ahead
    return Pass(
        vectors=video, depth=depth if layout.depth else None, weight=weight, alpha=alpha,
        ahead=ahead, logits=found + parameters["classes.bias"].unsqueeze(-2),
    )  # fmt: skip


def logits(
    parameters: Parameters,
    x: Tensor,
    layout: Layout,
    statistics: BatchStatistics | None = None,
    depth: Tensor | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """(…, B, columns) → (…, B, C), as `passed` has them."""
    return passed(parameters, x, layout, statistics, depth, keep).logits


def mean_of(vectors: Tensor, present: Tensor | None) -> Tensor:
    """(…, B, n) → (…, n), over the samples that are present."""
    if present is None:
        return vectors.mean(-2)
    found: Tensor = (vectors * present.unsqueeze(-1)).sum(-2) / present.sum(-1, keepdim=True)
    return found


def dropped(
    vectors: Tensor,
    keep: Tensor | None,
    columns: slice,
    statistics: "BatchStatistics | None" = None,
) -> Tensor:
    """(…, B, n). What dropout takes becomes the batch's mean: a constant that is added to a feature
    is neither noise nor a change of scale."""
    if keep is None:
        return vectors
    present = None if statistics is None else statistics.present
    centre = mean_of(vectors, present).unsqueeze(-2)
    return centre + (vectors - centre) * keep[..., columns]


def misordered(depth: Tensor, repeat: int) -> Tensor:
    """The released pairing: samples lie video by video, depth sample by sample."""
    videos = len(depth) // repeat
    position = torch.arange(len(depth), device=depth.device)
    return depth[position % videos * repeat + position // videos]


def plain_norm(attn: Tensor) -> Tensor:
    """Layer normalisation without its weight and bias."""
    return torch.nn.functional.layer_norm(attn, attn.shape[-1:], eps=FC_NORM_EPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A trained head as one matrix, for scoring: all but the attention vector's plain norm is
    linear."""

    parts: tuple[tuple[slice, Tensor], ...]
    """Columns that enter as they are, and their (…, columns, C)."""
    attn: slice
    attn_weight: Tensor
    bias: Tensor

    def logits(self, x: Tensor) -> Tensor:
        """(n, columns) → (…, n, C)"""
        found = self.bias + plain_norm(x[..., self.attn]) @ self.attn_weight
        for columns, weight in self.parts:
            found += x[..., columns] @ weight
        return found


def fold(parameters: Parameters, layout: Layout) -> Folded:
    """Norms, fc1, alpha and classes in one matrix. Not with down_norm=ln."""
    classes = parameters["classes.weight"].double()
    weight = (classes @ parameters["fc1.weight"].double()).mT
    bias = parameters["fc1.bias"].double().unsqueeze(-2) @ classes.mT
    attn = slice(layout.normed, layout.video)
    bias = bias + parameters["fc_norm.bias"].double().unsqueeze(-2) @ weight[..., attn, :]
    attn_weight = parameters["fc_norm.weight"].double().unsqueeze(-1) * weight[..., attn, :]
    alpha = mixing(parameters, layout).double() if layout.depth else 1.0
    parts = []
    if layout.width:
        first = weight[..., : layout.normed, :]
        if layout.down_norm == "bn":
            variance = parameters["down_norm.running_var"].double()
            scale = (variance + DOWN_NORM_EPS).rsqrt()
            mean = parameters["down_norm.running_mean"].double()
            first = first * torch.cat([scale] * layout.pooled, -1).unsqueeze(-1)
            bias = bias - torch.cat([mean] * layout.pooled, -1).unsqueeze(-2) @ first
        parts.append((slice(0, layout.normed), (alpha * first).float()))
    if layout.depth:
        depth = slice(layout.video, layout.columns)
        parts.append((depth, ((1 - alpha) * classes.mT).float()))
    bias = alpha * bias + parameters["classes.bias"].double().unsqueeze(-2)
    return Folded(
        parts=tuple(parts), attn=attn, attn_weight=(alpha * attn_weight).float(),
        bias=bias.float(),
    )  # fmt: skip
