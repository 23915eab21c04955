"""The pictures of forged clips: one region, deformation and colour change for the whole clip.

Which kinds there are, and which frames they show, is said in `forgeries.py`.
Legend: h height, w width, c colour.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.views.blend import Image, blended, ellipse

_BENDS = 5
"""Points a side of the grid that bends a region."""
_BEND = (0.03, 0.07)
"""How far, in short sides."""
_GAIN, _OFFSET = (0.65, 0.85), (12.0, 40.0)
_PERIODS = (1.0, 2.0)
"""How often a region bends to and fro in a clip."""

Changed = Callable[[int], Image]


def forged(
    kind: str, frames_hwc: Sequence[Image], others_hwc: Sequence[Image], rng: np.random.Generator
) -> list[Image]:
    """A clip's pictures with the fault of that kind; `drop` and `repeat` are in its frames."""
    if kind == "self":
        return blended(frames_hwc, rng)
    if kind not in _DRAWN:
        return list(frames_hwc)
    height, width = frames_hwc[0].shape[:2]
    mask_hw1 = ellipse(height, width, rng)[:, :, None]
    changed = _DRAWN[kind](frames_hwc, others_hwc, rng)
    found = []
    for place, frame_hwc in enumerate(frames_hwc):
        other_hwc = changed(place).astype(np.float32)
        found.append(np.rint(frame_hwc + mask_hw1 * (other_hwc - frame_hwc)).astype(np.uint8))
    return found


def _bent(
    frames_hwc: Sequence[Image], others_hwc: Sequence[Image], rng: np.random.Generator
) -> Changed:
    del others_hwc
    field_hw2 = _field(frames_hwc[0], rng)
    return lambda place: _moved(frames_hwc[place], field_hw2, 1.0)


def _bending(
    frames_hwc: Sequence[Image], others_hwc: Sequence[Image], rng: np.random.Generator
) -> Changed:
    del others_hwc
    field_hw2 = _field(frames_hwc[0], rng)
    periods, phase = rng.uniform(*_PERIODS), rng.uniform(0, 2 * math.pi)
    steps = len(frames_hwc)
    return lambda place: _moved(
        frames_hwc[place], field_hw2, math.sin(phase + 2 * math.pi * periods * place / steps)
    )


def _coloured(
    frames_hwc: Sequence[Image], others_hwc: Sequence[Image], rng: np.random.Generator
) -> Changed:
    """Some colour is weakened and another added, by so much that it shows."""
    del others_hwc
    order = rng.permutation(3)
    gain_c, offset_c = np.ones(3, np.float32), np.zeros(3, np.float32)
    gain_c[order[0]] = rng.uniform(*_GAIN)
    offset_c[order[1]] = rng.uniform(*_OFFSET)
    return lambda place: np.clip(frames_hwc[place] * gain_c + offset_c, 0, 255)


def _swapped(
    frames_hwc: Sequence[Image], others_hwc: Sequence[Image], rng: np.random.Generator
) -> Changed:
    """The other stretch, in the colours of this one: by one change for the whole clip."""
    del rng
    own_c, other_c = (_statistics(clip[0]) for clip in (frames_hwc, others_hwc))
    gain_c = own_c[1] / np.maximum(other_c[1], 1)

    def other(place: int) -> Image:
        picture_hwc = others_hwc[min(place, len(others_hwc) - 1)]
        return np.asarray(np.clip((picture_hwc - other_c[0]) * gain_c + own_c[0], 0, 255))

    return other


_DRAWN: Mapping[str, Callable[[Sequence[Image], Sequence[Image], np.random.Generator], Changed]] = {
    "warp": _bending, "deform": _bent, "colour": _coloured, "blend": _swapped,
}  # fmt: skip
"""Kinds that change a region → what a clip's frames become in it."""


def _statistics(picture_hwc: Image) -> NDArray[np.float32]:
    """Mean and deviation of each colour (2, c)."""
    flat = picture_hwc.reshape(-1, 3)
    return np.stack([flat.mean(0), flat.std(0)]).astype(np.float32)


def _field(like_hwc: Image, rng: np.random.Generator) -> NDArray[np.float32]:
    """From how far away each pixel's picture comes (h, w, 2): smooth, no mere shift."""
    height, width = like_hwc.shape[:2]
    coarse = rng.uniform(-1, 1, (_BENDS, _BENDS, 2)).astype(np.float32)
    coarse -= coarse.mean((0, 1))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    far = rng.uniform(*_BEND) * min(height, width)
    return np.asarray(smooth * (far / np.abs(smooth).max()), np.float32)


def _moved(picture_hwc: Image, field_hw2: NDArray[np.float32], share: float) -> Image:
    height, width = picture_hwc.shape[:2]
    down, right = np.mgrid[:height, :width].astype(np.float32)
    x, y = right + share * field_hw2[..., 0], down + share * field_hw2[..., 1]
    moved = cv2.remap(
        picture_hwc, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(moved, np.uint8)
