"""The square that is cut around a box: the released geometry, to the pixel.

The square has the box's long side and is moved, not shrunk, where it would leave the frame. Where
it does not fit at all (a box wider than the frame is high), it has the short side, and the box
loses its ends. Corners are rounded outwards on each axis alone, so that about three in ten crops
are a pixel off square.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.people.detections import Quad
from extract.views.looks import Look, looked

BIG, SMALL = 256, 224
"""A crop's short side is this much larger than the part that the network sees of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """Pixels: right and bottom are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, frame_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return frame_hwc[self.top : self.bottom, self.left : self.right]


def square_around(box: Quad, width: int, height: int) -> Square | None:
    """None: there is no box, or its square cannot be in the frame.

    Boxes are cut to the frame first (`Detections.inside`); one that is outside would be moved in.

    Coordinates of which float32 holds the value are exact; others should be rounded to it first,
    else a box that touches the far border may miss its square by a rounding error.
    """
    across, down = box[2] - box[0], box[3] - box[1]
    if not (0 < across < math.inf and 0 < down < math.inf):
        return None
    sizes = (width, height)
    side = max(across, down)
    spans = [_outer(box[axis], box[axis + 2], side, sizes[axis]) for axis in (0, 1)]
    found = _square(spans, sizes)
    if found is not None:
        return found
    side = min(across, down)
    spans = [_inner(box[axis], box[axis + 2], side, sizes[axis]) for axis in (0, 1)]
    return _square(spans, sizes)


def crop_look(size: int, *, bgr: bool = False) -> Look:
    """How a crop becomes the network's input: Pillow's bicubic, then the middle. `bgr`: colours in
    the order in which the released inference has them, beside means and deviations of RGB."""
    return Look(height=size, width=size, short=int(BIG / SMALL * size), bgr=bgr)


def crop_picture(frame_hwc: NDArray[np.uint8], square: Square, look: Look) -> NDArray[np.uint8]:
    """(size, size, 3)."""
    return looked(square.of(frame_hwc), look)


Span = tuple[float, float]


def _outer(near: float, far: float, side: float, size: int) -> Span | None:
    """A side's stretch of an axis that holds all of the box and lies in the frame."""
    least, most = max(far - side / 2, side / 2), min(near + side / 2, size - side / 2)
    if least > most:
        return None
    return _around(min(max((near + far) / 2, least), most), side)


def _inner(near: float, far: float, side: float, size: int) -> Span:
    return _around(min(max((near + far) / 2, side / 2), size - side / 2), side)


def _around(centre: float, side: float) -> Span:
    near = centre - side / 2
    return near, near + side


def _square(spans: list[Span] | list[Span | None], sizes: tuple[int, int]) -> Square | None:
    whole = [(math.floor(span[0]), math.ceil(span[1])) for span in spans if span is not None]
    if len(whole) < len(spans):
        return None
    if not all(0 <= near < far <= size for (near, far), size in zip(whole, sizes, strict=True)):
        return None
    (left, right), (top, bottom) = whole
    return Square(left=left, top=top, right=right, bottom=bottom)
