"""A drawn person: skin and clothes over a skeleton, as shapes with their depths.

What is drawn is a figure that is plainly a person acting, not a likeness of one.
"""

import math
from collections.abc import Iterator

from extract.synthesis.look import Look
from extract.synthesis.pose import SIDES, Pose, Skeleton
from extract.synthesis.shapes import Colour, Point, Shape, between, scaled

DISTANCE = 4.0
"""Of the person from the camera, metres; parts are nearer or farther by centimetres."""
NEAREST, FARTHEST = 3.7, 4.3
"""No part of a person is nearer or farther than that."""
_FINGERS_FROM = 250
"""Hands get fingers where the person is so many pixels tall."""


def body(bones: Skeleton, look: Look, pose: Pose) -> list[Shape]:
    """All shapes of the person."""
    shapes = [*_legs(bones, look, pose), *_chest(bones, look), *_head(bones, look, pose.yaw)]
    for side in range(2):
        shapes += _arm(bones, look, pose, side)
    return shapes


def _legs(bones: Skeleton, look: Look, pose: Pose) -> Iterator[Shape]:
    for side, word in enumerate(("left", "right")):
        unit = bones.height * look.bulk * pose.limb_sizes[2 + side]
        hip, knee, foot = bones.hips[side], bones.knees[side], bones.feet[side]
        part = f"{word} leg"
        yield from _limb(f"{word} thigh", part, 4.0, (hip, knee), 0.094 * unit, look.trousers)
        yield from _limb(f"{word} shin", part, 4.01, (knee, foot), 0.074 * unit, look.trousers)
        centre = (foot[0] + SIDES[side] * 0.016 * unit, foot[1] + 0.006 * unit)
        yield _oval(f"{word} shoe", f"{word} shoe", 3.99, centre, (0.056 * unit, 0.031 * unit),
                    look.shoes)  # fmt: skip


def _arm(bones: Skeleton, look: Look, pose: Pose, side: int) -> Iterator[Shape]:
    word = ("left", "right")[side]
    unit = bones.height * look.bulk * pose.limb_sizes[side]
    shoulder, elbow, hand = bones.shoulders[side], bones.elbows[side], bones.hands[side]
    part = f"{word} arm"
    yield from _limb(f"{word} forearm", part, 3.85, (elbow, hand), 0.056 * unit, look.skin)
    yield from _limb(f"{word} upper arm", part, 3.84, (shoulder, elbow), 0.072 * unit, look.shirt)
    yield _oval(f"{word} hand", f"{word} hand", 3.8, hand, (0.038 * unit, 0.038 * unit), look.skin)
    if bones.height >= _FINGERS_FROM:
        yield from _fingers(word, elbow, hand, unit, look.skin)


def _fingers(word: str, elbow: Point, hand: Point, unit: float, skin: Colour) -> Iterator[Shape]:
    """Four and a thumb, spread around the forearm's direction."""
    ahead = math.atan2(hand[1] - elbow[1], hand[0] - elbow[0])
    for number, (turn, length) in enumerate(
        ((-1.15, 0.05), (-0.42, 0.068), (-0.13, 0.074), (0.16, 0.07), (0.45, 0.058))
    ):
        tip = (
            hand[0] + math.cos(ahead + turn) * length * unit,
            hand[1] + math.sin(ahead + turn) * length * unit,
        )
        yield Shape(
            kind="bar", name=f"{word} finger {number}", part=f"{word} hand", depth=3.79,
            colour=scaled(skin, 0.9 + 0.05 * (number % 2)), points=(hand, tip),
            size=(0.016 * unit,) * 2,
        )  # fmt: skip


def _chest(bones: Skeleton, look: Look) -> Iterator[Shape]:
    left, right = bones.shoulders
    low_left, low_right = bones.hips
    pad = 0.034 * bones.height * look.bulk
    outline = (
        (left[0] - pad * 0.4, left[1] - pad * 0.6),
        (right[0] + pad * 0.4, right[1] - pad * 0.6),
        (low_right[0] + pad, low_right[1] + pad),
        (low_left[0] - pad, low_left[1] + pad),
    )
    yield _polygon("chest", 3.96, outline, look.shirt)
    tall = max(1.0, outline[3][1] - outline[0][1])
    for stripe in range(look.stripes):
        part = (stripe + 0.7) / (look.stripes + 0.4)
        start, end = between(outline[0], outline[3], part), between(outline[1], outline[2], part)
        yield Shape(
            kind="bar", name=f"stripe {stripe}", part="chest", depth=3.955, colour=look.stripe,
            points=(start, end), size=(tall * min(0.1, 0.45 / look.stripes),) * 2,
        )  # fmt: skip
    shade = (
        between(outline[0], outline[1], 0.8), outline[1], outline[2],
        between(outline[3], outline[2], 0.8),
    )  # fmt: skip
    if not look.stripes:
        yield _polygon("shade", 3.95, shade, scaled(look.shirt, 0.8))


def _head(bones: Skeleton, look: Look, yaw: float) -> Iterator[Shape]:
    """Hair lies behind the chest when the face is seen, in front of it when the back is."""
    radius = 0.078 * bones.height
    facing = math.cos(math.radians(yaw)) >= -0.2
    long = radius * (1 + look.hair_length)
    centre = (bones.head[0], bones.head[1] + radius * (look.hair_length * 0.8 - 0.12))
    neck = (bones.neck, between(bones.neck, bones.head, 0.5))
    yield from _limb("neck", "face", 3.945, neck, 0.058 * bones.height * look.bulk, look.skin)
    yield _oval("hair", "hair", 4.1 if facing else 3.9, centre, (radius * 1.12, long), look.hair)
    if facing:
        yield from _face(bones.head, radius, look, yaw)


def _face(centre: Point, radius: float, look: Look, yaw: float) -> Iterator[Shape]:
    shift = math.sin(math.radians(yaw)) * radius * 0.6
    middle = (centre[0] + shift * 0.3, centre[1])
    yield _oval("face", "face", 3.94, middle, (radius * 0.86, radius), look.skin)
    fringe = (centre[0] + shift * 0.2, centre[1] - radius * 0.72)
    yield _oval("fringe", "hair", 3.93, fringe, (radius * 0.84, radius * 0.4), look.hair)
    dark = scaled(look.hair, 0.45)
    for side, word in zip(SIDES, ("left", "right"), strict=True):
        eye = (centre[0] + shift + side * radius * 0.34, centre[1] - radius * 0.05)
        size = max(0.8, radius * 0.13)
        yield _oval(f"{word} eye", "face", 3.925, eye, (size, size), dark)
    mouth = (centre[0] + shift, centre[1] + radius * 0.48)
    yield _oval("mouth", "face", 3.925, mouth, (radius * 0.3, max(0.7, radius * 0.1)),
                (150, 70, 70))  # fmt: skip


def _limb(
    name: str, part: str, depth: float, ends: tuple[Point, Point], width: float, colour: Colour
) -> Iterator[Shape]:
    """A rounded bar with a lit edge, so that it looks round."""
    yield Shape(
        kind="bar", name=name, part=part, depth=depth, colour=scaled(colour, 0.76), points=ends,
        size=(width, width),
    )  # fmt: skip
    lift = width * 0.14
    lit = tuple((x - lift, y - lift) for x, y in ends)
    yield Shape(
        kind="bar", name=f"{name}, lit", part=part, depth=depth - 0.005, colour=colour, points=lit,
        size=(width * 0.6,) * 2,
    )  # fmt: skip


def _oval(name: str, part: str, depth: float, centre: Point, axes: Point, colour: Colour) -> Shape:
    return Shape(
        kind="oval", name=name, part=part, depth=depth, colour=colour, points=(centre,), size=axes
    )


def _polygon(name: str, depth: float, corners: tuple[Point, ...], colour: Colour) -> Shape:
    return Shape(
        kind="polygon", name=name, part="chest", depth=depth, colour=colour, points=corners
    )
