"""Position embeddings: the sine-cosine start values, and resizing in time and space.

Resizing is what the released loader does: linear in time first, then bicubic in space, neither
with aligned corners; the class token's row stays. Unlike the released loader it finds out how
many frames a checkpoint was made for. Legend: t frames, l patches of a frame, d channels.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from extract.errors import BadWeights


def resize_joint(embedding_1nd: Tensor, frames: int, side: int) -> Tensor:
    """(1, 1 + t·l, d) for `frames` frames of side x side patches."""
    patches = embedding_1nd.shape[1] - 1
    old_frames = _frames_of(patches, frames)
    cls_11d, grid_1nd = embedding_1nd[:, :1], embedding_1nd[:, 1:]
    grid_tld = grid_1nd.reshape(old_frames, patches // old_frames, -1)
    grid_tld = resize_space(resize_time(grid_tld, frames), side)
    return torch.cat([cls_11d, grid_tld.reshape(1, frames * side * side, -1)], 1)


def resize_time(grid_tld: Tensor, frames: int) -> Tensor:
    if grid_tld.shape[0] == frames:
        return grid_tld
    grid_ldt = grid_tld.permute(1, 2, 0)
    return functional.interpolate(grid_ldt, size=frames, mode="linear").permute(2, 0, 1)


def resize_space(grid_tld: Tensor, side: int) -> Tensor:
    old = math.isqrt(grid_tld.shape[1])
    if old == side:
        return grid_tld
    grid_tdhw = grid_tld.reshape(-1, old, old, grid_tld.shape[2]).permute(0, 3, 1, 2)
    resized = functional.interpolate(grid_tdhw, size=(side, side), mode="bicubic")
    return resized.permute(0, 2, 3, 1).reshape(grid_tld.shape[0], side * side, -1)


def sincos(width: int, frames: int, side: int) -> Tensor:
    """The start value (1 + t·l, d): a quarter of the channels for time, the rest for space.

    Numbers even in a network that is made without any: without them torch loads its symbolic
    algebra, a second and more, to know the shapes.
    """
    with torch.device("cpu"):
        return _sincos(width, frames, side)


def _sincos(width: int, frames: int, side: int) -> Tensor:
    time_d = width // 4
    space_ld = _space(width - time_d, side)
    time_td = _waves(torch.arange(frames, dtype=torch.float64), time_d)
    grid_tld = torch.cat(
        [
            time_td[:, None].expand(-1, side * side, -1),
            space_ld[None].expand(frames, -1, -1),
        ],
        2,
    )
    cls_1d = torch.zeros(1, width, dtype=torch.float64)
    return torch.cat([cls_1d, grid_tld.flatten(0, 1)]).float()


def sincos_apart(width: int, frames: int, side: int) -> tuple[Tensor, Tensor]:
    """Start values of separate embeddings: space (l, d) and time (t, d)."""
    with torch.device("cpu"):
        time_td = _waves(torch.arange(frames, dtype=torch.float64), width)
        return _space(width, side).float(), time_td.float()


def _space(width: int, side: int) -> Tensor:
    steps = torch.arange(side, dtype=torch.float64)
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return torch.cat([_waves(columns, width // 2), _waves(rows, width // 2)], 1)


def _waves(positions: Tensor, width: int) -> Tensor:
    frequencies = 10_000.0 ** -(torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = positions.reshape(-1, 1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def _frames_of(patches: int, wanted: int) -> int:
    """Official checkpoints have 8 frames; others are recognised where the patches are square."""
    for frames in (8, wanted, 4, 16, 32):
        if patches % frames == 0 and math.isqrt(patches // frames) ** 2 == patches // frames:
            return frames
    raise BadWeights(
        f"A position embedding of {patches} patches fits no square grid of 4, 8, 16, 32 or "
        f"{wanted} frames."
    )
