"""What made-up pictures are drawn of: simple shapes, each a part of something at some depth.

A frame is its shapes painted from far to near, so that what hides what and the true depth of every
pixel are one and the same thing. Legend: h height, w width, c colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
Point = tuple[float, float]
PARTS = (
    "wall", "floor", "object", "hair", "face", "chest", "left arm", "right arm", "left hand",
    "right hand", "left leg", "right leg", "left shoe", "right shoe",
)  # fmt: skip
"""Left and right are the picture's."""
_SHIFT = 4
_FACTOR = 1 << _SHIFT


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A thick line between two points (bar), an ellipse, a convex polygon, or an upright box."""

    kind: Literal["bar", "oval", "polygon", "box"]
    name: str
    """The same from frame to frame, and alone in its frame."""
    part: str
    depth: float
    """Metres from the camera."""
    colour: Colour
    points: tuple[Point, ...]
    """Bar: both ends; oval: centre; polygon: corners; box: two opposite corners."""
    size: Point = (0, 0)
    """Bar: its width, twice; oval: half axes."""

    @property
    def anchors(self) -> tuple[Point, ...]:
        """Points whose way from frame to frame is the shape's."""
        if self.kind != "oval":
            return self.points
        (x, y), (wide, tall) = self.points[0], self.size
        return (x, y), (x + wide, y), (x, y + tall)


def paint(image_hwc: Image, shape: Shape) -> None:
    """Draw it with smooth edges."""
    _draw(image_hwc, shape, shape.colour, 1.0, cv2.LINE_AA)


def stamp(shapes: Sequence[Shape], size: tuple[int, int], scale: float = 1.0) -> NDArray[np.int16]:
    """Which shape is seen at each pixel of (h, w): its place in `shapes`, far to near, or -1.

    With `scale` 0.25 the map is of a picture a quarter as wide: `size` is the map's own.
    """
    seen_hw = np.full(size, -1, np.int16)
    for place, shape in enumerate(shapes):
        _draw(seen_hw, shape, place, scale, cv2.LINE_8)
    return seen_hw


def scaled(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(level * factor)) for level in colour)
    return red, green, blue


def between(a: Point, b: Point, part: float) -> Point:
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part


def _draw(
    target: NDArray[np.generic], shape: Shape, value: Colour | int, scale: float, line: int
) -> None:
    image = np.asarray(target)
    points = [_fixed(point, scale) for point in shape.points]
    if shape.kind == "bar":
        thick = max(1, round(shape.size[0] * scale))
        cv2.line(image, points[0], points[1], value, thick, line, _SHIFT)
    elif shape.kind == "oval":
        axes = _fixed((max(shape.size[0], 0.5), max(shape.size[1], 0.5)), scale)
        cv2.ellipse(image, points[0], axes, 0, 0, 360, value, -1, line, _SHIFT)
    elif shape.kind == "polygon":
        cv2.fillConvexPoly(image, np.array(points, np.int32), value, line, _SHIFT)
    else:
        (left, top), (right, bottom) = (
            (round(x * scale), round(y * scale)) for x, y in shape.points
        )
        image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = value


def _fixed(point: Point, scale: float) -> tuple[int, int]:
    """OpenCV's fixed-point coordinates: sixteenths of a pixel, so that slow motion is smooth."""
    return round(point[0] * scale * _FACTOR), round(point[1] * scale * _FACTOR)
