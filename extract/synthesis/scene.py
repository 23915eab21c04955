"""The background of a made-up clip: a textured wall and floor, before which the camera moves."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.synthesis.shapes import Colour, Image

MARGIN = 0.18
_WALL_DISTANCE, _FLOOR_NEAR = 8.0, 4.6
"""Metres; the floor is nearest where the picture ends, and still behind all that stands on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A backdrop larger than the picture; the camera looks at a part of it."""

    backdrop_hwc: Image
    horizon: int
    """The row of the backdrop where the floor begins."""
    grain_hw: NDArray[np.int8]
    width: int
    height: int

    def offset(self, right: float, down: float) -> tuple[int, int]:
        """The picture's corner in the backdrop, x and y, for a camera position in -1…1."""
        tall, wide = self.backdrop_hwc.shape[:2]
        left = round((wide - self.width) * (0.5 + 0.5 * right))
        return left, round((tall - self.height) * (0.5 + 0.5 * down))

    def picture(self, offset: tuple[int, int]) -> Image:
        """What is seen before anything stands there."""
        left, top = offset
        return self.backdrop_hwc[top : top + self.height, left : left + self.width].copy()

    def depth(self, offset: tuple[int, int]) -> NDArray[np.float32]:
        """Metres, (H, W): the wall is flat, the floor comes nearer towards the camera."""
        rows = np.arange(self.height) + offset[1]
        floor = np.maximum(rows - self.horizon, 0) / max(1, len(self.backdrop_hwc) - self.horizon)
        depth_h = _WALL_DISTANCE + (_FLOOR_NEAR - _WALL_DISTANCE) * floor
        return np.repeat(depth_h.astype(np.float32)[:, None], self.width, 1)

    def grained(self, image_hwc: Image, rng: np.random.Generator) -> Image:
        """Sensor noise, new in every frame."""
        tall, wide = self.grain_hw.shape
        top = int(rng.integers(tall - self.height + 1))
        left = int(rng.integers(wide - self.width + 1))
        part = self.grain_hw[top : top + self.height, left : left + self.width]
        noise_hwc = cv2.merge([part, part, part])
        return np.asarray(cv2.add(image_hwc, noise_hwc, dtype=cv2.CV_8U), np.uint8)


def make_scene(
    size: tuple[int, int], tint: Colour, grain: float, rng: np.random.Generator
) -> Scene:
    """A wall with a pattern, a floor below it, uneven light, all from one generator's palette.

    Size: the picture's width and height.
    """
    width, height = size
    wide, tall = round(width * (1 + MARGIN)), round(height * (1 + MARGIN / 2))
    horizon = round(tall * rng.uniform(0.6, 0.68))
    wall = np.asarray(tint, np.float32) * rng.uniform(0.75, 1.05)
    floor = wall[::-1] * np.float32(0.45) + np.float32(38)
    base = np.empty((tall, wide, 3), np.float32)
    base[:horizon] = wall
    base[horizon:] = floor
    _pattern(base[:horizon], rng)
    boards = np.linspace(0, rng.uniform(5, 9), wide)
    depth = np.linspace(0.4, 1.6, tall - horizon)[:, None]
    lines = np.abs(((boards[None] - boards.mean()) / depth) % 1 - 0.5) > 0.46
    base[horizon:][lines] *= 0.78
    base *= (0.86 + 0.28 * _cloud(tall, wide, 4, rng))[..., None]
    base += (18 * (_cloud(tall, wide, 40, rng) - 0.5))[..., None]
    base[horizon - 3 : horizon] *= 0.6
    noise = rng.standard_normal((round(height * 1.4), round(width * 1.4)), np.float32) * grain
    return Scene(
        backdrop_hwc=base.clip(0, 255).astype(np.uint8),
        horizon=horizon,
        grain_hw=noise.clip(-40, 40).astype(np.int8),
        width=width,
        height=height,
    )


def _pattern(wall_hwc: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Bricks, stripes, or windows."""
    tall, wide = wall_hwc.shape[:2]
    kind = int(rng.integers(3))
    size = max(6, round(wide * rng.uniform(0.05, 0.1)))
    rows, columns = np.arange(tall)[:, None], np.arange(wide)[None]
    if kind == 0:
        shifted = columns + (rows // (size // 2) % 2) * (size // 2)
        joints = (rows % (size // 2) < 1) | (shifted % size < 1)
        wall_hwc[joints] *= 0.72
    elif kind == 1:
        wall_hwc[:, (columns[0] // size) % 2 == 0] *= 0.88
    else:
        pane = 2 * size
        inside = (columns % (3 * size) < pane) & (rows % (3 * size) < pane)
        inside = inside & (rows > size) & (columns % (3 * size) > size // 3)
        wall_hwc[inside] = wall_hwc[inside] * 0.35 + np.array((95, 125, 150), np.float32)


def _cloud(tall: int, wide: int, cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise in 0…1."""
    coarse = rng.random((cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, (wide, tall), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.float32).clip(0, 1)
