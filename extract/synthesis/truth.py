"""What is truly in a made-up frame: parts, depth, movement, boxes and joints.

Legend: h height, w width, j joints, 2 x and y.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.synthesis.clip import Clip, Drawing
from extract.synthesis.shapes import PARTS, Shape, stamp

WALL, FLOOR, OBJECT = (PARTS.index(name) for name in ("wall", "floor", "object"))
FACE = PARTS.index("face")
HANDS = (PARTS.index("left hand"), PARTS.index("right hand"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Pixels: right and bottom are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Of one frame. Boxes are of what is seen, inside the picture; None where nothing is."""

    parts_hw: NDArray[np.uint8]
    """Index in PARTS of what is seen at each pixel."""
    depth_hw: NDArray[np.float32]
    """Metres."""
    flow_hw2: NDArray[np.float32]
    """Where each pixel goes in the next frame, in pixels; NaN where what it shows is not in the
    next frame (a stripe that vanishes), 0 in the last one. Exact for what moves, turns or grows;
    for a chest that bends it is the nearest such movement."""
    person: Box | None
    face: Box | None
    hands: tuple[Box | None, Box | None]
    joints_j2: NDArray[np.float64]
    """In the order of `Skeleton.points`; joints that are hidden or outside too."""


def truth(clip: Clip, number: int) -> Truth:
    """What that frame of the clip shows."""
    drawing = clip.drawing(number)
    size = (clip.plan.height, clip.plan.width)
    seen_hw = stamp(drawing.shapes, size)
    parts_hw = parts_of(clip, drawing, seen_hw)
    depths = np.array([shape.depth for shape in drawing.shapes], np.float32)
    depth_hw = np.where(seen_hw < 0, clip.scene.depth(drawing.offset), depths[seen_hw])
    later = clip.drawing(min(number + 1, clip.plan.frames - 1))
    return Truth(
        parts_hw=parts_hw,
        depth_hw=depth_hw,
        flow_hw2=_flow(drawing, later, seen_hw),
        person=_box(parts_hw > OBJECT),
        face=_box(parts_hw == FACE),
        hands=(_box(parts_hw == HANDS[0]), _box(parts_hw == HANDS[1])),
        joints_j2=drawing.bones.points,
    )


def parts_of(
    clip: Clip, drawing: Drawing, seen_hw: NDArray[np.int16], scale: float = 1.0
) -> NDArray[np.uint8]:
    """Index in PARTS, from a map that `stamp` made with that scale."""
    table = np.array([PARTS.index(shape.part) for shape in drawing.shapes] + [WALL], np.uint8)
    parts_hw = table[seen_hw]
    floor = max(0, round((clip.scene.horizon - drawing.offset[1]) * scale))
    below = parts_hw[floor:]
    below[below == WALL] = FLOOR
    return parts_hw


def _box(mask_hw: NDArray[np.bool_]) -> Box | None:
    left, top, width, height = cv2.boundingRect(mask_hw.astype(np.uint8))
    if not width:
        return None
    return Box(left=left, top=top, right=left + width, bottom=top + height)


def _flow(now: Drawing, later: Drawing, seen_hw: NDArray[np.int16]) -> NDArray[np.float32]:
    """Each shape's pixels move as its anchors do; the backdrop moves with the camera."""
    next_ones = {shape.name: shape for shape in later.shapes}
    moves = [_movement(shape, next_ones.get(shape.name)) for shape in now.shapes]
    camera = complex(now.offset[0] - later.offset[0], now.offset[1] - later.offset[1])
    moves.append((0j, camera))
    turns, shifts = np.array(moves).T
    rows, columns = np.indices(seen_hw.shape)
    flow_hw = turns[seen_hw] * (columns + 1j * rows) + shifts[seen_hw]
    return np.stack([flow_hw.real, flow_hw.imag], -1).astype(np.float32)


def _movement(shape: Shape, later: Shape | None) -> tuple[complex, complex]:
    """(turn, shift): a point z = x + iy moves by turn * z + shift, nearest to how anchors do."""
    if later is None:
        return complex(np.nan, np.nan), complex(np.nan, np.nan)
    start, end = _complex(shape.anchors), _complex(later.anchors)
    middle, new_middle = start.mean(), end.mean()
    spread = (np.abs(start - middle) ** 2).sum()
    turn = ((end - new_middle) * (start - middle).conj()).sum() / spread if spread else 1.0
    return complex(turn - 1), complex(new_middle - turn * middle)


def _complex(points: Sequence[tuple[float, float]]) -> NDArray[np.complex128]:
    return np.array([complex(x, y) for x, y in points])
