"""The fusion head's gradient in closed form, from that of its logits; autograd's, to rounding.

All but the attention vector's plain norm is linear, so it is a chain of thin products. The one wide
result, fc1's (hidden x F), is of rank C and left as its two factors: whoever moves fc1 makes it on
the way, and it never lies in memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.parts.fusion_net import SIGMOID, Layout, Pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thin:
    """A matrix (…, rows, columns) of low rank."""

    left: Tensor
    """(…, C, rows)"""
    right: Tensor
    """(…, C, columns)"""

    def whole(self) -> Tensor:
        return self.left.mT @ self.right


@torch.no_grad()
def gradients(
    parameters: Mapping[str, Tensor], layout: Layout, batch: Pass, wanted: Tensor
) -> dict[str, Tensor | Thin]:
    """By name, of all that can learn; `wanted` is that of the batch's logits (…, B, C)."""
    classes, norm = parameters["classes.weight"], slice(layout.normed, None)
    found: dict[str, Tensor | Thin] = {"classes.bias": wanted.sum(-2)}
    of_video = wanted
    if batch.alpha is not None:
        of_video = batch.alpha * wanted
        found["alpha"] = _of_alpha(parameters, layout, batch, wanted)
    told = of_video.sum(-2)
    plain = of_video.mT @ batch.vectors
    attn, shift = plain[..., norm], told.unsqueeze(-1) * parameters["fc_norm.bias"].unsqueeze(-2)
    found["fc_norm.weight"] = (batch.weight[..., norm] * attn).sum(-2)
    found["fc_norm.bias"] = (batch.weight[..., norm] * told.unsqueeze(-1)).sum(-2)
    attn = attn * parameters["fc_norm.weight"].unsqueeze(-2) + shift
    of_weight = torch.cat([plain[..., : layout.normed], attn], -1)
    found["fc1.weight"] = Thin(left=classes, right=of_weight)
    found["fc1.bias"] = (classes * told.unsqueeze(-1)).sum(-2)
    of_classes = of_weight @ parameters["fc1.weight"].mT
    of_classes = of_classes + told.unsqueeze(-1) * parameters["fc1.bias"].unsqueeze(-2)
    if batch.depth is not None:
        of_classes = of_classes + (wanted - of_video).mT @ batch.depth
    found["classes.weight"] = of_classes
    return found


def _of_alpha(
    parameters: Mapping[str, Tensor], layout: Layout, batch: Pass, wanted: Tensor
) -> Tensor:
    """(…, 1), through the sigmoid where there is one."""
    found = (wanted * batch.ahead).sum((-2, -1)).unsqueeze(-1)
    assert batch.alpha is not None
    alpha = batch.alpha.squeeze(-1)
    slope = alpha * (1 - alpha)
    if SIGMOID in parameters:
        return found * torch.where(parameters[SIGMOID], slope, 1)
    return found * slope if layout.alpha == "sigmoid" else found
