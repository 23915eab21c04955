"""Poses, and the actions that are made of them: a skeleton's angles as functions of time.

Lengths are fractions of the person's height; angles are degrees from straight down, outwards
positive, so that left and right mirror each other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.synthesis.shapes import Point

SIDES = (-1, 1)
ARM, FOREARM, THIGH, SHIN = 0.165, 0.155, 0.235, 0.225
JOINT_COUNT = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Angles of one moment. Pairs are (left, right) in the picture."""

    arms: tuple[float, float] = (14, 14)
    elbows: tuple[float, float] = (8, 8)
    legs: tuple[float, float] = (7, 7)
    knees: tuple[float, float] = (-4, -4)
    sink: float = 0.0
    """How far the hips come down."""
    lean: float = 0.0
    yaw: float = 0.0
    """Turn of head and chest, degrees; 180 shows the back."""
    limb_sizes: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """Left arm, right arm, left leg, right leg: 1 is as it should be."""
    offsets: tuple[Point, ...] = ()
    """Displacement of each joint in the order of `Skeleton.points`, in heights."""


def wave(turns: float) -> Pose:
    swing = math.sin(2 * math.pi * turns)
    return Pose(
        arms=(14 + 3 * swing, 122 + 8 * swing), elbows=(10, 40 + 30 * swing), lean=1.5 * swing
    )


def jumping_jack(turns: float) -> Pose:
    swing = 0.5 - 0.5 * math.cos(2 * math.pi * turns)
    return Pose(
        arms=(18 + 125 * swing,) * 2,
        elbows=(8 + 12 * swing,) * 2,
        legs=(5 + 17 * swing,) * 2,
        sink=0.03 * swing,
    )


def squat(turns: float) -> Pose:
    depth = 0.5 - 0.5 * math.cos(2 * math.pi * turns)
    return Pose(
        arms=(20 + 66 * depth,) * 2,
        elbows=(6,) * 2,
        legs=(8 + 34 * depth,) * 2,
        knees=(-6 - 44 * depth,) * 2,
        sink=0.12 * depth,
    )


def march(turns: float) -> Pose:
    phase = math.sin(2 * math.pi * turns)
    left, right = max(0.0, phase), max(0.0, -phase)
    return Pose(
        arms=(16 + 22 * right, 16 + 22 * left),
        elbows=(18 + 40 * right, 18 + 40 * left),
        legs=(5 + 30 * left, 5 + 30 * right),
        knees=(-4 - 52 * left, -4 - 52 * right),
        lean=2.5 * phase,
    )


def reach(turns: float) -> Pose:
    out = 0.5 - 0.5 * math.cos(2 * math.pi * turns)
    return Pose(arms=(14, 30 + 62 * out), elbows=(12, 52 - 50 * out), lean=5 * out)


def drum(turns: float) -> Pose:
    beat = math.sin(2 * math.pi * turns)
    return Pose(arms=(34 + 11 * beat, 34 - 11 * beat), elbows=(48 - 28 * beat, 48 + 28 * beat))


ACTIONS: dict[str, Callable[[float], Pose]] = {
    "wave": wave,
    "jumping-jack": jumping_jack,
    "squat": squat,
    "march": march,
    "reach": reach,
    "drum": drum,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """Joints in pixels. Pairs are (left, right) in the picture."""

    height: float
    head: Point
    neck: Point
    shoulders: tuple[Point, Point]
    elbows: tuple[Point, Point]
    hands: tuple[Point, Point]
    hips: tuple[Point, Point]
    knees: tuple[Point, Point]
    feet: tuple[Point, Point]

    @property
    def points(self) -> NDArray[np.float64]:
        """(14, 2): head, neck, then shoulders, elbows, hands, hips, knees, feet, left first."""
        pairs = (self.shoulders, self.elbows, self.hands, self.hips, self.knees, self.feet)
        return np.array([self.head, self.neck, *(point for pair in pairs for point in pair)])


def joints(pose: Pose, widths: tuple[float, float], foot: Point, height: float) -> Skeleton:
    """Where everything is, for a person of that height and those half widths of shoulders and
    hips who stands at that point."""
    turn = 0.35 + 0.65 * abs(math.cos(math.radians(pose.yaw)))
    lean = math.radians(pose.lean)
    hip_y = foot[1] - (0.47 - pose.sink) * height
    neck = (foot[0] + math.sin(lean) * 0.33 * height, hip_y - math.cos(lean) * 0.33 * height)
    head = (neck[0] + math.sin(lean) * 0.1 * height, neck[1] - 0.105 * height)
    points = [head, neck]
    shoulders = [(neck[0] + s * widths[0] * height * turn, neck[1] + 0.035 * height) for s in SIDES]
    hips = [(foot[0] + s * widths[1] * height * (0.5 + 0.5 * turn), hip_y) for s in SIDES]
    for starts, angles, bends, lengths, sizes in (
        (shoulders, pose.arms, pose.elbows, (ARM, FOREARM), pose.limb_sizes[:2]),
        (hips, pose.legs, pose.knees, (THIGH, SHIN), pose.limb_sizes[2:]),
    ):
        middles = [
            _along(start, side * angle, lengths[0] * height * size)
            for start, side, angle, size in zip(starts, SIDES, angles, sizes, strict=True)
        ]
        ends = [
            _along(middle, side * (angle + bend), lengths[1] * height * size)
            for middle, side, angle, bend, size in zip(
                middles, SIDES, angles, bends, sizes, strict=True
            )
        ]
        points += [*starts, *middles, *ends]
    for place, (right, down) in enumerate(pose.offsets):
        points[place] = (points[place][0] + right * height, points[place][1] + down * height)
    pairs = [(points[place], points[place + 1]) for place in range(2, JOINT_COUNT, 2)]
    return Skeleton(
        height=height,
        head=points[0],
        neck=points[1],
        shoulders=pairs[0],
        elbows=pairs[1],
        hands=pairs[2],
        hips=pairs[3],
        knees=pairs[4],
        feet=pairs[5],
    )


def _along(start: Point, angle: float, length: float) -> Point:
    radians = math.radians(angle)
    return start[0] + math.sin(radians) * length, start[1] + math.cos(radians) * length
