"""Defects planted into a made-up person: a slipped eye, a hand of too many fingers, a third arm.

For trying what looks at faces, hands and bodies by themselves. The true box of a defect is known.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from extract.synthesis.clip import Drawing
from extract.synthesis.shapes import Point, Shape

DefectKind = Literal["face", "hand", "body"]
DEFECTS: tuple[DefectKind, ...] = ("face", "hand", "body")
Corners = tuple[float, float, float, float]
_SIDES = ("left", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """What is wrong, and where: left, top, right, bottom in the picture."""

    kind: DefectKind
    box: Corners


def planted(
    drawing: Drawing, kind: DefectKind, rng: np.random.Generator
) -> tuple[Drawing, Defect] | None:
    """The drawing with that defect; None where the part that it needs is not drawn."""
    how = {"face": _slipped_eye, "hand": _many_fingers, "body": _third_arm}[kind]
    found = how(drawing, rng)
    if found is None:
        return None
    shapes, changed = found
    ordered = tuple(sorted(shapes, key=lambda shape: -shape.depth))
    return replace(drawing, shapes=ordered), Defect(kind=kind, box=_around(changed))


Change = tuple[list[Shape], list[Shape]]
"""All shapes, and those of them that are wrong."""


def _slipped_eye(drawing: Drawing, rng: np.random.Generator) -> Change | None:
    side = _SIDES[int(rng.integers(2))]
    shapes = {shape.name: shape for shape in drawing.shapes}
    if not {f"{side} eye", "mouth", "face"} <= set(shapes):
        return None
    eye, radius = shapes[f"{side} eye"], shapes["face"].size[1]
    x, y = eye.points[0]
    drop = radius * rng.uniform(0.3, 0.5)
    size = eye.size[0] * rng.uniform(1.4, 1.9)
    wrong = replace(eye, points=((x, y + drop),), size=(size, size))
    return [*(s for s in drawing.shapes if s is not eye), wrong], [wrong]


def _many_fingers(drawing: Drawing, rng: np.random.Generator) -> Change | None:
    side = _SIDES[int(rng.integers(2))]
    fingers = [s for s in drawing.shapes if s.name.startswith(f"{side} finger")]
    if not fingers:
        return None
    more = [
        replace(finger, name=f"{finger.name} again", points=_turned(finger.points, turn, 1.35))
        for finger in fingers
        for turn in (0.24 + rng.uniform(0, 0.1), 2.4)
    ]
    long = [replace(finger, points=_turned(finger.points, 0.0, 1.35)) for finger in fingers]
    kept = [s for s in drawing.shapes if not s.name.startswith(f"{side} finger")]
    return [*kept, *long, *more], [*long, *more]


def _third_arm(drawing: Drawing, rng: np.random.Generator) -> Change | None:
    side = _SIDES[int(rng.integers(2))]
    words = (f"{side} forearm", f"{side} upper arm", f"{side} hand", f"{side} finger")
    arm = [s for s in drawing.shapes if s.name.startswith(words)]
    shoulder = drawing.bones.shoulders[_SIDES.index(side)]
    turn = float(rng.choice([-1, 1]) * rng.uniform(0.8, 1.4))
    more = [
        replace(
            shape, name=f"{shape.name} again", part=f"{side} arm", depth=shape.depth + 0.02,
            points=tuple(_about(point, shoulder, turn) for point in shape.points),
        )
        for shape in arm
    ]  # fmt: skip
    return [*drawing.shapes, *more], more


def _turned(points: tuple[Point, ...], turn: float, longer: float) -> tuple[Point, ...]:
    """A bar, about its first end."""
    start, end = points
    x, y = _about(end, start, turn)
    return start, (start[0] + (x - start[0]) * longer, start[1] + (y - start[1]) * longer)


def _about(point: Point, centre: Point, turn: float) -> Point:
    x, y = point[0] - centre[0], point[1] - centre[1]
    cos, sin = math.cos(turn), math.sin(turn)
    return centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y


def _around(shapes: Iterable[Shape]) -> Corners:
    ends = []
    for shape in shapes:
        reach = max(shape.size) / (1 if shape.kind == "oval" else 2)
        ends += [(x - reach, y - reach, x + reach, y + reach) for x, y in shape.points]
    found = np.array(ends)
    return (
        float(found[:, 0].min()), float(found[:, 1].min()),
        float(found[:, 2].max()), float(found[:, 3].max()),
    )  # fmt: skip
