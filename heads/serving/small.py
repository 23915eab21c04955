"""Frames made small; decode workers load this, so it loads no network."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.views.transforms import view_frames
from extract.views.view import View

SIDE = 240


def small_frames(
    frames: Mapping[int, NDArray[np.uint8]], views: Sequence[View]
) -> NDArray[np.uint8]:
    """Every frame of every view in the upper left corner of a square."""
    found = [[_small(frame_hwc) for frame_hwc in view_frames(frames, view)] for view in views]
    return np.array(found, np.uint8)


def _small(frame_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame_hwc.shape[:2]
    size = fitted(width, height)
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    square[: size[1], : size[0]] = cv2.resize(frame_hwc, size, interpolation=cv2.INTER_AREA)
    return square


def fitted(width: int, height: int) -> tuple[int, int]:
    """Width and height in the square."""
    scale = SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
