"""Clips blended with a changed copy of themselves, as AltFreezing blends them for training.

Inside one soft-edged ellipse the clip is a little larger or smaller, shifted, of other colours and
softer. The ellipse and the change are drawn once per clip, so that frames agree with each other and
only the seam and what is inside it are wrong. AltFreezing blends two videos by the landmarks of a
face; here a view follows from its own video alone, and people are looked for nowhere but near the
middle. Legend: t frames, h height, w width, c colour.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_MIDDLE, _RADIUS, _EDGE = (0.35, 0.65), (0.12, 0.35), (0.01, 0.05)
"""Of the ellipse, in sides of the frame; the edge's softness in short sides."""
_MASK = 256
"""Pixels of the drawn mask's long side."""
_ZOOM, _SHIFT = 0.06, 0.03
_GAIN, _OFFSET = 0.12, 12.0
_SOFT = (0.3, 1.2)
"""Gaussian sigma in pixels of a frame whose short side has 224."""


def blended(frames_hwc: Sequence[Image], rng: np.random.Generator) -> list[Image]:
    """The frames, all changed alike."""
    height, width = frames_hwc[0].shape[:2]
    mask_hw1 = ellipse(height, width, rng)[:, :, None]
    zoom = 1 + rng.uniform(-_ZOOM, _ZOOM)
    right, down = rng.uniform(-_SHIFT, _SHIFT, 2) * (width, height)
    move = cv2.getRotationMatrix2D((width / 2, height / 2), 0, zoom)
    move[:, 2] += right, down
    gain_c = rng.uniform(1 - _GAIN, 1 + _GAIN, 3).astype(np.float32)
    offset_c = rng.uniform(-_OFFSET, _OFFSET, 3).astype(np.float32)
    sigma = rng.uniform(*_SOFT) * min(height, width) / 224
    found = []
    for frame_hwc in frames_hwc:
        moved = cv2.warpAffine(frame_hwc, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
        other_hwc = cv2.GaussianBlur(moved, (0, 0), sigma).astype(np.float32) * gain_c + offset_c
        mixed_hwc = frame_hwc + mask_hw1 * (np.clip(other_hwc, 0, 255) - frame_hwc)
        found.append(np.rint(mixed_hwc).astype(np.uint8))
    return found


def ellipse(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A region near the middle: 0 outside, 1 inside, softly between. Drawn small: soft edges have
    no detail."""
    scale = min(1.0, _MASK / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    mask_hw = _small_ellipse(size[1], size[0], rng)
    large = cv2.resize(mask_hw, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.float32)


def _small_ellipse(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    (row, column), (tall, wide) = rng.uniform(*_MIDDLE, 2), rng.uniform(*_RADIUS, 2)
    turn = float(rng.uniform(0, 180))
    mask_hw = np.zeros((height, width), np.float32)
    middle = round(column * width), round(row * height)
    axes = max(1, round(wide * width)), max(1, round(tall * height))
    cv2.ellipse(mask_hw, middle, axes, turn, 0, 360, (1.0,), -1)
    edge = rng.uniform(*_EDGE) * min(height, width)
    return np.asarray(cv2.GaussianBlur(mask_hw, (0, 0), max(0.3, edge)), np.float32)
