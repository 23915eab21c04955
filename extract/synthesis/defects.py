"""Defects planted into a made-up person: a slipped eye, a hand of too many fingers, a third arm.

For trying what looks at faces, hands and bodies by themselves. The true box of a defect is known,
and how much of it any part of the picture shows: what is hidden cannot be found.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from extract.synthesis.clip import Drawing
from extract.synthesis.shapes import Point, Shape, stamp

DefectKind = Literal["face", "hand", "body"]
DEFECTS: tuple[DefectKind, ...] = ("face", "hand", "body")
Corners = tuple[float, float, float, float]
_SIDES = ("left", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """What is wrong, and where: left, top, right, bottom in the picture."""

    kind: DefectKind
    part: str
    """Of whom or what it is: face, left hand, right hand, left arm, right arm."""
    box: Corners
    wrong: frozenset[str]
    """Names of the shapes that are wrong."""
    beside: frozenset[str]
    """Shapes without which these would be fine: a third arm is one beside the arm it repeats."""


def planted(
    drawing: Drawing, kind: DefectKind, rng: np.random.Generator
) -> tuple[Drawing, Defect] | None:
    """The drawing with that defect; None where the part that it needs is not drawn."""
    how = {"face": _slipped_eye, "hand": _many_fingers, "body": _third_arm}[kind]
    found = how(drawing, rng)
    if found is None:
        return None
    ordered = tuple(sorted(found.shapes, key=lambda shape: -shape.depth))
    return replace(drawing, shapes=ordered), Defect(
        kind=kind, part=found.part, box=_around(found.wrong),
        wrong=_names(found.wrong), beside=_names(found.beside),
    )  # fmt: skip


def share_seen(
    drawing: Drawing, names: Collection[str], size: tuple[int, int], window: Corners
) -> float:
    """How much of those shapes a window of a picture of that height and width shows: 0 to 1.

    What something nearer hides is not seen, nor what lies outside the picture.
    """
    left, top, right, bottom = (max(0, round(side)) for side in window)
    height, width = size
    alone = [
        replace(shape, points=tuple((x + width, y + height) for x, y in shape.points))
        for shape in drawing.shapes
        if shape.name in names
    ]
    whole = stamp(alone, (3 * height, 3 * width)) >= 0
    seen = seen_of(drawing, names, size)[top:bottom, left:right]
    return float(seen.sum() / max(1, whole.sum()))


def seen_of(drawing: Drawing, names: Collection[str], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a picture of that height and width shows any of those shapes."""
    places = [n for n, shape in enumerate(drawing.shapes) if shape.name in names]
    return np.isin(stamp(drawing.shapes, size), places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """All shapes, those of them that are wrong, and those that show that they are."""

    part: str
    shapes: list[Shape]
    wrong: list[Shape]
    beside: list[Shape]


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
    kept = [s for s in drawing.shapes if s is not eye]
    beside = [s for s in kept if s.name in ("left eye", "right eye", "mouth")]
    return Change(part="face", shapes=[*kept, wrong], wrong=[wrong], beside=beside)


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
    wrong = [*long, *more]
    return Change(part=f"{side} hand", shapes=[*kept, *wrong], wrong=wrong, beside=[])


def _third_arm(drawing: Drawing, rng: np.random.Generator) -> Change:
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
    shapes = [*drawing.shapes, *more]
    return Change(part=f"{side} arm", shapes=shapes, wrong=more, beside=arm)


def _turned(points: tuple[Point, ...], turn: float, longer: float) -> tuple[Point, ...]:
    """A bar, about its first end."""
    start, end = points
    x, y = _about(end, start, turn)
    return start, (start[0] + (x - start[0]) * longer, start[1] + (y - start[1]) * longer)


def _about(point: Point, centre: Point, turn: float) -> Point:
    x, y = point[0] - centre[0], point[1] - centre[1]
    cos, sin = math.cos(turn), math.sin(turn)
    return centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y


def _names(shapes: Iterable[Shape]) -> frozenset[str]:
    return frozenset(shape.name for shape in shapes)


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
