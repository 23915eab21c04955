"""The background of a made-up clip: a textured wall and floor, a moving camera, and an object."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.synthesis.person import Colour

Image = NDArray[np.uint8]
MARGIN = 0.18


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A backdrop larger than the picture; the camera looks at a part of it."""

    backdrop_hwc: Image
    grain_hw: NDArray[np.int8]
    width: int
    height: int

    def look(self, right: float, down: float) -> tuple[Image, tuple[int, int]]:
        """The picture at a camera position in -1…1, and the offset of its corner."""
        tall, wide = self.backdrop_hwc.shape[:2]
        left = round((wide - self.width) * (0.5 + 0.5 * right))
        top = round((tall - self.height) * (0.5 + 0.5 * down))
        part = self.backdrop_hwc[top : top + self.height, left : left + self.width]
        return part.copy(), (left, top)

    def grain(self, image_hwc: Image, rng: np.random.Generator) -> Image:
        """Sensor noise, new in every frame."""
        tall, wide = self.grain_hw.shape
        top = int(rng.integers(tall - self.height + 1))
        left = int(rng.integers(wide - self.width + 1))
        part = self.grain_hw[top : top + self.height, left : left + self.width]
        noise_hwc = cv2.merge([part, part, part])
        return np.asarray(cv2.add(image_hwc, noise_hwc, dtype=cv2.CV_8U), np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prop:
    """A barrel that stands on the floor; x and y are its foot in the backdrop."""

    x: float
    y: float
    width: float
    height: float
    colour: Colour

    def picture(self, width: int, height: int) -> tuple[Image, NDArray[np.uint8]]:
        """The barrel drawn (H, W, 3) and where it is opaque (H, W)."""
        image_hwc = np.zeros((height, width, 3), np.uint8)
        across = np.linspace(-1, 1, width)
        light = 0.62 + 0.38 * np.cos((across + 0.35) * 1.4)
        image_hwc[:] = (np.asarray(self.colour) * light[:, None]).clip(0, 255).astype(np.uint8)
        for part in (0.22, 0.74):
            top = int(height * part)
            image_hwc[top : top + max(2, height // 14)] = image_hwc[top] // 2
        lid = max(2, height // 12)
        mask_hw = np.zeros((height, width), np.uint8)
        cv2.rectangle(mask_hw, (0, lid), (width - 1, height - lid), 255, -1)
        middle = width // 2
        for level in (lid, height - lid):
            cv2.ellipse(mask_hw, (middle, level), (middle, lid), 0, 0, 360, 255, -1)
        top_colour = tuple(min(255, int(level * 1.15)) for level in self.colour)
        cv2.ellipse(image_hwc, (middle, lid), (middle, lid), 0, 0, 360, top_colour, -1)
        return image_hwc, mask_hw

    def draw(self, image_hwc: Image, offset: tuple[int, int], columns: tuple[float, float]) -> None:
        """Paste the part between two fractions of its width; (0, 1) is all of it."""
        width, height = max(4, round(self.width)), max(6, round(self.height))
        picture_hwc, mask_hw = self.picture(width, height)
        left, top = round(self.x - width / 2 - offset[0]), round(self.y - height - offset[1])
        first, last = round(columns[0] * width), round(columns[1] * width)
        x0, x1 = max(left + first, 0), min(left + last, image_hwc.shape[1])
        y0, y1 = max(top, 0), min(top + height, image_hwc.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        source = picture_hwc[y0 - top : y1 - top, x0 - left : x1 - left]
        mask = mask_hw[y0 - top : y1 - top, x0 - left : x1 - left]
        cv2.copyTo(source, mask, image_hwc[y0:y1, x0:x1])


def make_scene(
    width: int, height: int, tint: Colour, grain: float, rng: np.random.Generator
) -> Scene:
    """A wall with a pattern, a floor below it, uneven light, all from one generator's palette."""
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
    noise = rng.normal(0, grain, (round(height * 1.4), round(width * 1.4)))
    return Scene(
        backdrop_hwc=base.clip(0, 255).astype(np.uint8),
        grain_hw=noise.clip(-40, 40).astype(np.int8),
        width=width,
        height=height,
    )


def _pattern(wall_hwc: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Bricks, stripes, or windows."""
    tall, wide = wall_hwc.shape[:2]
    kind = int(rng.integers(3))
    size = max(6, round(wide * rng.uniform(0.05, 0.1)))
    rows, columns = np.mgrid[0:tall, 0:wide]
    if kind == 0:
        shifted = columns + (rows // (size // 2) % 2) * (size // 2)
        joints = (rows % (size // 2) < 1) | (shifted % size < 1)
        wall_hwc[joints] *= 0.72
    elif kind == 1:
        wall_hwc[(columns // size) % 2 == 0] *= 0.88
    else:
        pane = 2 * size
        inside = (columns % (3 * size) < pane) & (rows % (3 * size) < pane)
        inside &= (rows > size) & (columns % (3 * size) > size // 3)
        wall_hwc[inside] = wall_hwc[inside] * 0.35 + np.array((95, 125, 150), np.float32)


def _cloud(tall: int, wide: int, cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise in 0…1."""
    coarse = rng.random((cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, (wide, tall), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.float32).clip(0, 1)
