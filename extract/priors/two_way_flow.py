"""Optical flow there and back between pairs of pictures, by RAFT or without weights by DIS."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from extract.networks.raft import SMALLEST, STRIDE
from extract.priors import flow
from extract.priors.warping import Warp, find_warp

TwoWayFlow = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Pictures (p, 3, h, w) in 0…255, of sides that divide by 8, at least 64 → (p, 2, h, w), twice.
`raft.Raft` is one."""


def pair_warp(find: TwoWayFlow, first_pchw: Tensor, second_pchw: Tensor) -> Warp:
    """The way from first to second pictures of any size, in float32."""
    height, width = first_pchw.shape[-2:]
    with torch.autocast(first_pchw.device.type, enabled=False):
        there, back = find(_padded(first_pchw), _padded(second_pchw))
    return find_warp(there[..., :height, :width], back[..., :height, :width])


def dis_flow(first_pchw: Tensor, second_pchw: Tensor) -> tuple[Tensor, Tensor]:
    """On the host, pair by pair."""
    pairs = zip(_images(first_pchw), _images(second_pchw), strict=True)
    with flow.one_thread():
        both = [flow.dis_flow(first_hwc, second_hwc) for first_hwc, second_hwc in pairs]
    there, back = (torch.from_numpy(np.stack(flows)) for flows in zip(*both, strict=True))
    device = first_pchw.device
    return there.permute(0, 3, 1, 2).to(device), back.permute(0, 3, 1, 2).to(device)


def _images(pictures_pchw: Tensor) -> list[flow.Image]:
    return [
        np.ascontiguousarray(picture.permute(1, 2, 0).byte().cpu().numpy())
        for picture in pictures_pchw
    ]


def _padded(pictures_pchw: Tensor) -> Tensor:
    """In eights, at least 64; edges are repeated to the right and below."""
    height, width = pictures_pchw.shape[-2:]
    down, right = (max(SMALLEST, -(-size // STRIDE) * STRIDE) - size for size in (height, width))
    return functional.pad(pictures_pchw, (0, right, 0, down), mode="replicate")
