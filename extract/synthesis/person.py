"""A drawn person: a skeleton posed by an action, clothes and skin over it, one frame at a time.

Lengths are fractions of the person's height; angles are degrees from straight down, outwards
positive, so that left and right mirror each other. What is drawn is a figure that is plainly a
person acting, not a likeness of one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
Point = tuple[float, float]
SIDES = (-1, 1)
_SHIFT = 4
_FACTOR = 1 << _SHIFT


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a person wears and how they are built. Constant in a real video."""

    skin: Colour
    hair: Colour
    shirt: Colour
    stripe: Colour
    trousers: Colour
    shoes: Colour
    stripes: int = 4
    hair_length: float = 0.3
    shoulders: float = 0.115
    hips: float = 0.065
    bulk: float = 1.0


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
    arm_scales: tuple[float, float] = (1.0, 1.0)
    offsets: tuple[Point, ...] = ()
    """Displacement of each joint in the order of `joints`, in heights."""


def wave(time: float) -> Pose:
    swing = math.sin(2 * math.pi * 1.1 * time)
    return Pose(
        arms=(14 + 3 * swing, 128 + 4 * swing), elbows=(10, 40 + 26 * swing), lean=1.5 * swing
    )


def jumping_jack(time: float) -> Pose:
    swing = 0.5 - 0.5 * math.cos(2 * math.pi * 0.8 * time)
    return Pose(
        arms=(18 + 132 * swing,) * 2,
        elbows=(8 + 12 * swing,) * 2,
        legs=(5 + 17 * swing,) * 2,
        sink=0.03 * swing,
    )


def squat(time: float) -> Pose:
    depth = 0.5 - 0.5 * math.cos(2 * math.pi * 0.55 * time)
    return Pose(
        arms=(20 + 66 * depth,) * 2,
        elbows=(6,) * 2,
        legs=(8 + 34 * depth,) * 2,
        knees=(-6 - 44 * depth,) * 2,
        sink=0.12 * depth,
    )


def march(time: float) -> Pose:
    phase = math.sin(2 * math.pi * 0.9 * time)
    left, right = max(0.0, phase), max(0.0, -phase)
    return Pose(
        arms=(16 + 22 * right, 16 + 22 * left),
        elbows=(18 + 40 * right, 18 + 40 * left),
        legs=(5 + 30 * left, 5 + 30 * right),
        knees=(-4 - 52 * left, -4 - 52 * right),
        lean=2.5 * phase,
    )


def reach(time: float) -> Pose:
    out = 0.5 - 0.5 * math.cos(2 * math.pi * 0.7 * time)
    return Pose(arms=(14, 30 + 62 * out), elbows=(12, 52 - 50 * out), lean=5 * out)


def drum(time: float) -> Pose:
    beat = math.sin(2 * math.pi * 1.5 * time)
    return Pose(arms=(34 + 9 * beat, 34 - 9 * beat), elbows=(48 - 24 * beat, 48 + 24 * beat))


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


def joints(pose: Pose, look: Look, foot: Point, height: float) -> Skeleton:
    """Where everything is, for a person of that height standing at that point."""
    turn = math.cos(math.radians(pose.yaw))
    lean = math.radians(pose.lean)
    hip_y = foot[1] - (0.47 - pose.sink) * height
    hip = (foot[0], hip_y)
    neck = (hip[0] + math.sin(lean) * 0.33 * height, hip_y - math.cos(lean) * 0.33 * height)
    head = (neck[0] + math.sin(lean) * 0.1 * height, neck[1] - 0.105 * height)
    wide = look.shoulders * height * (0.35 + 0.65 * abs(turn))
    shoulders = [(neck[0] + side * wide, neck[1] + 0.035 * height) for side in SIDES]
    hips = [(hip[0] + side * look.hips * height, hip_y) for side in SIDES]
    elbows, hands, knees, feet = [], [], [], []
    for side, shoulder, arm, bend, scale in zip(
        SIDES, shoulders, pose.arms, pose.elbows, pose.arm_scales, strict=True
    ):
        elbows.append(_along(shoulder, side * arm, 0.165 * height * scale))
        hands.append(_along(elbows[-1], side * (arm + bend), 0.155 * height * scale))
    for side, joint, leg, bend in zip(SIDES, hips, pose.legs, pose.knees, strict=True):
        knees.append(_along(joint, side * leg, 0.235 * height))
        feet.append(_along(knees[-1], side * (leg + bend), 0.225 * height))
    points = [head, neck, *shoulders, *elbows, *hands, *hips, *knees, *feet]
    for place, (right, down) in enumerate(pose.offsets):
        points[place] = (points[place][0] + right * height, points[place][1] + down * height)
    pairs = [(points[place], points[place + 1]) for place in range(2, len(points), 2)]
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


JOINT_COUNT = 14


def _along(start: Point, angle: float, length: float) -> Point:
    radians = math.radians(angle)
    return start[0] + math.sin(radians) * length, start[1] + math.cos(radians) * length


def draw_person(image_hwc: Image, bones: Skeleton, look: Look, yaw: float) -> None:
    """Legs, chest, head, then arms in front."""
    unit = bones.height * look.bulk
    for side in range(2):
        _limb(image_hwc, bones.hips[side], bones.knees[side], 0.075 * unit, look.trousers)
        _limb(image_hwc, bones.knees[side], bones.feet[side], 0.058 * unit, look.trousers)
        _shoe(image_hwc, bones.feet[side], SIDES[side], unit, look.shoes)
    facing = math.cos(math.radians(yaw)) >= -0.2
    if facing:
        _hair(image_hwc, bones, look)
    _chest(image_hwc, bones, look, unit)
    _limb(image_hwc, bones.neck, _between(bones.neck, bones.head, 0.5), 0.05 * unit, look.skin)
    if facing:
        _face(image_hwc, bones, look, yaw)
    else:
        _hair(image_hwc, bones, look)
    for side in range(2):
        draw_arm(image_hwc, bones, look, side)


def draw_arm(image_hwc: Image, bones: Skeleton, look: Look, side: int) -> None:
    unit = bones.height * look.bulk
    shoulder, elbow, hand = bones.shoulders[side], bones.elbows[side], bones.hands[side]
    _limb(image_hwc, elbow, hand, 0.042 * unit, look.skin)
    _limb(image_hwc, shoulder, elbow, 0.056 * unit, look.shirt)
    _disc(image_hwc, hand, 0.028 * unit, look.skin)


def _chest(image_hwc: Image, bones: Skeleton, look: Look, unit: float) -> None:
    left, right = bones.shoulders
    low_left, low_right = bones.hips
    pad = 0.028 * unit
    outline = [
        (left[0] - pad * 0.4, left[1] - pad * 0.6),
        (right[0] + pad * 0.4, right[1] - pad * 0.6),
        (low_right[0] + pad, low_right[1] + pad),
        (low_left[0] - pad, low_left[1] + pad),
    ]
    _polygon(image_hwc, outline, look.shirt)
    for stripe in range(look.stripes):
        part = (stripe + 0.7) / (look.stripes + 0.4)
        start, end = _between(outline[0], outline[3], part), _between(outline[1], outline[2], part)
        _line(image_hwc, start, end, 0.022 * unit, look.stripe)
    shade = [_between(outline[0], outline[1], 0.78), outline[1], outline[2]]
    shade.append(_between(outline[3], outline[2], 0.78))
    _polygon(image_hwc, shade, _scaled(look.shirt, 0.8))


def _hair(image_hwc: Image, bones: Skeleton, look: Look) -> None:
    """Behind the chest when the face is seen, in front of it when the back is."""
    radius = 0.068 * bones.height
    long = radius * (1 + look.hair_length)
    centre = (bones.head[0], bones.head[1] + radius * (look.hair_length * 0.8 - 0.12))
    _ellipse(image_hwc, centre, (radius * 1.12, long), look.hair)


def _face(image_hwc: Image, bones: Skeleton, look: Look, yaw: float) -> None:
    radius, centre = 0.068 * bones.height, bones.head
    shift = math.sin(math.radians(yaw)) * radius * 0.6
    _ellipse(image_hwc, (centre[0] + shift * 0.3, centre[1]), (radius * 0.86, radius), look.skin)
    fringe = (centre[0] + shift * 0.2, centre[1] - radius * 0.72)
    _ellipse(image_hwc, fringe, (radius * 0.84, radius * 0.4), look.hair)
    dark = _scaled(look.hair, 0.45)
    for side in SIDES:
        eye = (centre[0] + shift + side * radius * 0.34, centre[1] - radius * 0.05)
        _disc(image_hwc, eye, max(0.8, radius * 0.13), dark)
    mouth = (centre[0] + shift, centre[1] + radius * 0.48)
    _ellipse(image_hwc, mouth, (radius * 0.3, max(0.7, radius * 0.1)), (150, 70, 70))


def _shoe(image_hwc: Image, foot: Point, side: int, unit: float, colour: Colour) -> None:
    centre = (foot[0] + side * 0.014 * unit, foot[1] + 0.008 * unit)
    _ellipse(image_hwc, centre, (0.046 * unit, 0.026 * unit), colour)


def _limb(image_hwc: Image, start: Point, end: Point, width: float, colour: Colour) -> None:
    """A rounded bar with a lit edge, so that it looks round."""
    _line(image_hwc, start, end, width, _scaled(colour, 0.78))
    lift = width * 0.14
    lit = [(point[0] - lift, point[1] - lift) for point in (start, end)]
    _line(image_hwc, lit[0], lit[1], width * 0.6, colour)


def _between(a: Point, b: Point, part: float) -> Point:
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part


def _scaled(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(level * factor)) for level in colour)
    return red, green, blue


def _fixed(point: Sequence[float]) -> tuple[int, int]:
    """OpenCV's fixed-point coordinates: sixteenths of a pixel, so that slow motion is smooth."""
    return round(point[0] * _FACTOR), round(point[1] * _FACTOR)


def _line(image_hwc: Image, start: Point, end: Point, width: float, colour: Colour) -> None:
    thick = max(1, round(width))
    cv2.line(image_hwc, _fixed(start), _fixed(end), colour, thick, cv2.LINE_AA, _SHIFT)


def _disc(image_hwc: Image, centre: Point, radius: float, colour: Colour) -> None:
    cv2.circle(image_hwc, _fixed(centre), round(radius * _FACTOR), colour, -1, cv2.LINE_AA, _SHIFT)


def _ellipse(image_hwc: Image, centre: Point, axes: Point, colour: Colour) -> None:
    cv2.ellipse(image_hwc, _fixed(centre), _fixed(axes), 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def _polygon(image_hwc: Image, corners: Sequence[Point], colour: Colour) -> None:
    points = np.array([_fixed(corner) for corner in corners], np.int32)
    cv2.fillConvexPoly(image_hwc, points, colour, cv2.LINE_AA, _SHIFT)
