"""What published detectors read off the path that a video's frames draw in an encoder's space.

Each function is one detector's arithmetic, equal to its released code's; which sign means `real` is
said by each. All frames are there: leave those that fill up a short video out before.
Legend: n videos, t frames, d channels, p patches of a frame.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_NORM = 1e-8
FEATURES = 21
_STEPS, _ANGLES = 7, 6
_TINY = 1e-8
_POWER = 8
_SPREAD = 2
"""Numbers that have a standard deviation."""


def lengths(vectors_ntd: Tensor) -> Tensor:
    """(n, t - 1): how far each frame is from the next."""
    found: Tensor = (vectors_ntd[:, 1:] - vectors_ntd[:, :-1]).norm(dim=-1)
    return found


def similarities(vectors_ntd: Tensor) -> Tensor:
    """(n, t - 1): the cosine between each frame and the next."""
    before, after = vectors_ntd[:, :-1], vectors_ntd[:, 1:]
    return functional.cosine_similarity(before, after, dim=-1, eps=SMALLEST_NORM)


def unevenness(first_nt: Tensor) -> Tensor:
    """D3's score: the standard deviation (n - 1) of how much neighbouring distances differ.

    Differences of distances, not of vectors. Larger is more real; of fewer than four frames there
    is none (NaN).
    """
    second_nt = first_nt[:, 1:] - first_nt[:, :-1]
    if second_nt.shape[1] < _SPREAD:
        return first_nt.new_full((len(first_nt),), math.nan)
    return second_nt.std(dim=-1)


def angles(vectors_ntd: Tensor) -> Tensor:
    """(n, t - 2): by how many degrees the path turns; at a step of length 0, by 90."""
    steps = vectors_ntd[:, 1:] - vectors_ntd[:, :-1]
    cosine = functional.cosine_similarity(steps[:, :-1], steps[:, 1:], dim=-1, eps=SMALLEST_NORM)
    return torch.rad2deg(cosine.clamp(-1, 1).arccos())


def straightness(lengths_nt: Tensor, angles_nt: Tensor) -> Tensor:
    """ReStraV's 21 numbers: first steps and angles, then mean, least, most and variance of each."""
    moments = [
        torch.stack([x.mean(-1), x.amin(-1), x.amax(-1), x.var(-1, correction=0)], -1)
        for x in (lengths_nt, angles_nt)
    ]
    return torch.cat([lengths_nt[:, :_STEPS], angles_nt[:, :_ANGLES], *moments], -1)


def roughness(patches_ntpd: Tensor) -> Tensor:
    """SPLIT's (n, p): how much longer each patch's path is in single steps than in double ones."""
    frames = patches_ntpd.shape[1]
    single = (patches_ntpd[:, 1:] - patches_ntpd[:, :-1]).norm(dim=-1).sum(1)
    double = (patches_ntpd[:, 2:] - patches_ntpd[:, :-2]).norm(dim=-1).sum(1)
    double = double / 2 * (frames - 1) / (frames - 2)
    found: Tensor = ((single + _TINY).log() - (double + _TINY).log()) / math.log(2)
    return found


def incoherence(patches_ntpd: Tensor) -> Tensor:
    """SPLIT's (n): how differently neighbouring patches of a square grid move."""
    motion = patches_ntpd[:, 1:] - patches_ntpd[:, :-1]
    side = math.isqrt(motion.shape[2])
    grid = motion.unflatten(2, (side, side))  # type: ignore[no-untyped-call]
    across = (grid[:, :, :, 1:] - grid[:, :, :, :-1]).norm(dim=-1).mean((1, 2, 3))
    down = (grid[:, :, 1:] - grid[:, :, :-1]).norm(dim=-1).mean((1, 2, 3))
    found: Tensor = (across + down) / 2
    return found


def patchwork(roughness_np: Tensor, incoherence_n: Tensor) -> Tensor:
    """SPLIT's score. Larger is more *generated*; the even power hides roughness's sign."""
    return roughness_np.mean(-1) ** _POWER * incoherence_n
