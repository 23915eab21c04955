"""Pictures moved by optical flow, and what it fails to explain: on the device, in torch.

The *warping error* is Lai et al.'s (2018): the next frame is warped back by the flow and compared
where it can be seen in both frames, after Sundaram et al. 2010: where the way back ends where the
way there began, and not on an edge between motions. *Depth distortion* is the same comparison of
depth maps. Their depth is known up to a factor only, which may differ from frame to frame, so it is
the logarithms that are compared, without the median of what they differ by; what is left is how
much depth swells and shrinks along the flow, in parts of itself.

Where nothing can be seen in both frames the whole picture counts: a cut is the worst distortion,
not the least.
Legend: p pairs, c channels, h height, w width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from extract.networks.places import pixels, sample

REVISION = 1
_APART, _APART_LEAST = 0.01, 0.5
_EDGE, _EDGE_LEAST = 0.01, 0.002


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Warp:
    """The way from each pair's first picture to its second."""

    flow_p2hw: Tensor
    """Right, down, in pixels."""
    counts_phw: Tensor
    """Where the two are compared; everywhere in pairs that have nothing in common."""


def find_warp(there_p2hw: Tensor, back_p2hw: Tensor) -> Warp:
    """From flow both ways."""
    back_there = warped(back_p2hw, there_p2hw)
    apart = ((there_p2hw + back_there) ** 2).sum(1)
    length = (there_p2hw**2).sum(1)
    consistent = apart <= _APART * (length + (back_there**2).sum(1)) + _APART_LEAST
    edge = _steepness(there_p2hw) > _EDGE * length + _EDGE_LEAST
    visible = _inside(there_p2hw) & consistent & ~edge
    nothing = ~visible.flatten(1).any(1)
    return Warp(flow_p2hw=there_p2hw, counts_phw=visible | nothing[:, None, None])


def warping_error(first_pchw: Tensor, second_pchw: Tensor, warp: Warp) -> Tensor:
    """The mean squared distance of colours (p), of pictures in 0…1."""
    square = ((warped(second_pchw, warp.flow_p2hw) - first_pchw) ** 2).sum(1)
    return _mean(square, warp.counts_phw)


def depth_distortion(first_phw: Tensor, second_phw: Tensor, warp: Warp) -> Tensor:
    """The mean difference of logarithms of depth (p), beside their pair's median difference."""
    moved = warped(second_phw.log()[:, None], warp.flow_p2hw)[:, 0]
    difference = moved - first_phw.log()
    counted = difference.masked_fill(~warp.counts_phw, torch.nan).flatten(1)
    shift = counted.nanmedian(1).values[:, None, None]
    return _mean((difference - shift).abs(), warp.counts_phw)


def warped(image_pchw: Tensor, flow_p2hw: Tensor) -> Tensor:
    """What each pixel sees where the flow takes it."""
    places = (pixels(flow_p2hw) + flow_p2hw).permute(0, 2, 3, 1)
    return sample(image_pchw, places, padding="border")


def _inside(flow_p2hw: Tensor) -> Tensor:
    height, width = flow_p2hw.shape[-2:]
    right, down = (pixels(flow_p2hw) + flow_p2hw).unbind(1)
    return (right >= 0) & (right <= width - 1) & (down >= 0) & (down <= height - 1)


def _steepness(flow_p2hw: Tensor) -> Tensor:
    """Squared differences with the pixels to the right and below."""
    right = functional.pad(flow_p2hw.diff(dim=3), (0, 1))
    down = functional.pad(flow_p2hw.diff(dim=2), (0, 0, 0, 1))
    return (right**2 + down**2).sum(1)


def _mean(error_phw: Tensor, counts_phw: Tensor) -> Tensor:
    total = (error_phw.double() * counts_phw).sum((1, 2))
    return (total / counts_phw.sum((1, 2))).float()
