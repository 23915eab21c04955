"""One made-up clip: a person acts before a moving background; something may go wrong with them.

The anomalies are the paper's: spatial (a limb passes through an object, or changes its size),
appearance (colours, pattern or build drift), motion (joints jitter, the chest spins, the person
jumps). Severity in 0…1 says how obvious. All else is drawn alike for every class.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.synthesis.person import (
    ACTIONS,
    JOINT_COUNT,
    Colour,
    Look,
    Point,
    Pose,
    draw_arm,
    draw_person,
    joints,
)
from extract.synthesis.scene import Prop, Scene, make_scene

Image = NDArray[np.uint8]
KINDS: dict[str, tuple[str, ...]] = {
    "appearance": ("colour", "build", "pattern"),
    "spatial": ("through", "limb-size"),
    "motion": ("jitter", "spin", "jump"),
    "real": ("none",),
}
_SKINS: tuple[Colour, ...] = ((244, 208, 177), (222, 171, 127), (172, 117, 78), (104, 68, 48))
_HAIRS: tuple[Colour, ...] = ((38, 28, 24), (92, 58, 30), (190, 150, 80), (120, 40, 26))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlan:
    """All that decides a clip's pixels before encoding."""

    width: int
    height: int
    frames: int
    fps: float
    tint: Colour
    grain: float
    label: str
    severity: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cast:
    """What is drawn at random once per clip."""

    scene: Scene
    look: Look
    action: str
    kind: str
    prop: Prop
    foot: Point
    person: float
    phase: float
    pan: tuple[float, float]
    drift: Look


def render(plan: ClipPlan) -> NDArray[np.uint8]:
    """The clip's frames (T, H, W, 3), the same for the same plan."""
    rng = np.random.default_rng(plan.seed)
    cast = _cast(plan, rng)
    clip_thwc = np.empty((plan.frames, plan.height, plan.width, 3), np.uint8)
    for number in range(plan.frames):
        clip_thwc[number] = _frame(plan, cast, number, rng)
    return clip_thwc


def _cast(plan: ClipPlan, rng: np.random.Generator) -> _Cast:
    scene = make_scene(plan.width, plan.height, plan.tint, plan.grain, rng)
    tall, wide = scene.backdrop_hwc.shape[:2]
    person = plan.height * rng.uniform(0.7, 0.8) * min(1.0, 1.25 * plan.width / plan.height)
    foot = (wide * rng.uniform(0.4, 0.5), tall * rng.uniform(0.88, 0.93))
    look = _look(rng)
    kind = str(rng.choice(KINDS[plan.label]))
    action = "reach" if kind == "through" else str(rng.choice(list(ACTIONS)))
    prop = Prop(
        x=foot[0] + person * rng.uniform(0.25, 0.29),
        y=foot[1] - person * 0.01,
        width=person * rng.uniform(0.14, 0.18),
        height=person * rng.uniform(0.77, 0.85),
        colour=_colour(rng, 0.75),
    )
    return _Cast(
        scene=scene,
        look=look,
        action=action,
        kind=kind,
        prop=prop,
        foot=foot,
        person=person,
        phase=float(rng.uniform(0, 2)),
        pan=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))),
        drift=_look(rng),
    )


def _look(rng: np.random.Generator) -> Look:
    shirt = _colour(rng, 1.0)
    return Look(
        skin=_SKINS[int(rng.integers(len(_SKINS)))],
        hair=_HAIRS[int(rng.integers(len(_HAIRS)))],
        shirt=shirt,
        stripe=_colour(rng, 1.0),
        trousers=_colour(rng, 0.6),
        shoes=_colour(rng, 0.4),
        stripes=int(rng.integers(0, 6)),
        hair_length=float(rng.uniform(0.1, 0.9)),
        shoulders=float(rng.uniform(0.1, 0.13)),
        hips=float(rng.uniform(0.055, 0.075)),
        bulk=float(rng.uniform(0.9, 1.15)),
    )


def _colour(rng: np.random.Generator, value: float) -> Colour:
    hue, saturation = int(rng.integers(180)), int(rng.integers(110, 220))
    hsv = np.array([[[hue, saturation, int(235 * value)]]], np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def _frame(plan: ClipPlan, cast: _Cast, number: int, rng: np.random.Generator) -> Image:
    time = number / plan.fps
    part = number / max(plan.frames - 1, 1)
    shake = 0.35 * math.sin(2 * math.pi * (0.21 * time + cast.phase))
    right = float(np.clip(cast.pan[0] * (2 * part - 1) * 0.6 + shake * 0.4, -1, 1))
    image_hwc, offset = cast.scene.look(right, float(np.clip(cast.pan[1] * shake, -1, 1)))
    pose = ACTIONS[cast.action](time + cast.phase)
    look = cast.look
    move, spin = (0.0, 0.0), 0.0
    if cast.kind in KINDS["appearance"]:
        look = _drifted(cast, plan.severity, part, time)
    elif cast.kind == "limb-size":
        pose = _grown_arm(pose, plan.severity, time + cast.phase)
    elif cast.kind == "jitter":
        noise = rng.normal(0, 0.035 * plan.severity, (JOINT_COUNT, 2))
        pose = replace(pose, offsets=tuple((float(x), float(y)) for x, y in noise))
    elif cast.kind == "spin":
        spin = 360 * (0.5 + 1.5 * plan.severity) * part
        pose = replace(pose, yaw=spin)
    elif cast.kind == "jump" and (number // max(2, plan.frames // 5)) % 2:
        move = (0.25 * plan.severity * cast.person, 0.0)
    foot = (cast.foot[0] - offset[0] + move[0], cast.foot[1] - offset[1])
    bones = joints(pose, look, foot, cast.person)
    _shadow(image_hwc, foot, cast)
    cast.prop.draw(image_hwc, offset, (0, 1))
    draw_person(image_hwc, bones, look, pose.yaw)
    if cast.kind == "through":
        _pierce(image_hwc, offset, cast, plan.severity)
    elif cast.action == "reach":
        draw_arm(image_hwc, bones, look, 1)
    return cast.scene.grain(image_hwc, rng)


def _pierce(image_hwc: Image, offset: tuple[int, int], cast: _Cast, severity: float) -> None:
    """The barrel's front covers the middle of the arm: the hand comes out of its other half."""
    half = 0.12 + 0.26 * severity
    cast.prop.draw(image_hwc, offset, (0.5 - half, 0.5 + half))


def _grown_arm(pose: Pose, severity: float, time: float) -> Pose:
    swell = 0.5 - 0.5 * math.cos(2 * math.pi * 0.6 * time)
    return replace(pose, arm_scales=(1.0, 1 + 1.1 * severity * swell))


def _drifted(cast: _Cast, severity: float, part: float, time: float) -> Look:
    """From the first look towards another one, as far as the severity goes."""
    amount = severity * (0.5 - 0.5 * math.cos(math.pi * min(1.0, 1.3 * part)))
    look, other = cast.look, cast.drift
    if cast.kind == "colour":
        return replace(
            look,
            shirt=_mixed(look.shirt, other.shirt, amount),
            trousers=_mixed(look.trousers, other.trousers, amount),
            hair=_mixed(look.hair, other.hair, amount),
            skin=_mixed(look.skin, other.skin, amount),
        )
    if cast.kind == "build":
        wider = 1 if other.bulk > look.bulk else -1
        return replace(
            look,
            bulk=look.bulk * (1 + wider * 0.4 * amount),
            shoulders=look.shoulders * (1 + wider * 0.35 * amount),
            hips=look.hips * (1 - wider * 0.3 * amount),
            hair_length=look.hair_length + 1.4 * amount,
        )
    flicker = int(5 * severity * (0.5 - 0.5 * math.cos(2 * math.pi * 0.7 * time)) + 0.5)
    return replace(
        look,
        stripes=max(1, look.stripes + flicker),
        stripe=_mixed(look.stripe, other.stripe, amount),
        shirt=_mixed(look.shirt, other.shirt, 0.4 * amount),
    )


def _mixed(a: Colour, b: Colour, amount: float) -> Colour:
    red, green, blue = (round(x + (y - x) * amount) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _shadow(image_hwc: Image, foot: Point, cast: _Cast) -> None:
    """Darkens the floor under the person."""
    wide, flat = round(cast.person * 0.17), max(2, round(cast.person * 0.03))
    x, y = round(foot[0]), round(foot[1] + cast.person * 0.01)
    left, top = max(x - wide, 0), max(y - flat, 0)
    area = image_hwc[top : y + flat + 1, left : x + wide + 1]
    if area.size:
        dark = np.ones(area.shape[:2], np.float32)
        cv2.ellipse(dark, (x - left, y - top), (wide, flat), 0, 0, 360, 0.62, -1, cv2.LINE_AA)
        area[:] = (area * dark[..., None]).astype(np.uint8)
