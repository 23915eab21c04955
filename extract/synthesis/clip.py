"""One made-up clip: a person acts beside an object, before a moving background.

Something may go wrong with them (`faults`). All else is drawn alike for every class: what a clip
shows is decided by its seed, what is wrong in it by its label and severity.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.synthesis.faults import Fault, Moment, random_fault
from extract.synthesis.look import Look, random_look
from extract.synthesis.person import body
from extract.synthesis.pose import ACTIONS, Skeleton, joints
from extract.synthesis.prop import Prop, random_prop
from extract.synthesis.scene import Scene, make_scene
from extract.synthesis.shapes import Colour, Image, Point, Shape, paint

Shot = Literal["full", "close"]
_CAST, _FAULT, _GRAIN = range(3)


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
    action: str | None = None
    """One of ACTIONS; None: drawn with the rest."""
    shot: Shot = "full"
    """The whole person, or head to hips with hands and face large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One frame before it is painted: what is where."""

    moment: Moment
    shapes: tuple[Shape, ...]
    """Far to near."""
    bones: Skeleton
    look: Look
    yaw: float
    limb_sizes: tuple[float, float, float, float]
    offset: tuple[int, int]
    """The picture's corner in the backdrop."""
    foot: Point
    """Where the person stands."""


class Clip:
    """A planned clip, ready to be drawn frame by frame, in any order."""

    def __init__(self, plan: ClipPlan) -> None:
        self.plan = plan
        rng = np.random.default_rng((plan.seed, _CAST))
        self.scene: Scene = make_scene((plan.width, plan.height), plan.tint, plan.grain, rng)
        tall, wide = self.scene.backdrop_hwc.shape[:2]
        person = plan.height * rng.uniform(0.78, 0.86) * min(1.0, 1.25 * plan.width / plan.height)
        foot = (wide * rng.uniform(0.44, 0.56), tall * rng.uniform(0.9, 0.94))
        if plan.shot == "close":
            person *= 1.9
            foot = (foot[0], tall * 0.14 + person * 0.95)
        self.person = float(person)
        self.foot: Point = foot
        self.look: Look = random_look(rng)
        drawn = list(ACTIONS)[int(rng.integers(len(ACTIONS)))]
        self.action: str = plan.action or drawn
        self.prop: Prop = random_prop(person, foot, self.look, rng)
        self._speed = float(rng.uniform(0.4, 0.75))
        self._phase = float(rng.uniform(0, 1))
        self._pan = (float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-1, 1)))
        self._shake = (float(rng.uniform(0, 0.3)), float(rng.uniform(0, 1)))
        self._walk = float(rng.uniform(-0.05, 0.05))
        self._turn = (float(rng.uniform(-30, 30)), float(rng.uniform(-30, 30)))
        fault = random_fault(
            plan.label, plan.severity, self.look, np.random.default_rng((plan.seed, _FAULT))
        )
        self.fault: Fault = fault.beside(self.prop.hides)

    def drawing(self, number: int) -> Drawing:
        """What is where in that frame."""
        plan, fault = self.plan, self.fault
        moment = Moment(number=number, frames=plan.frames, seconds=number / plan.fps)
        offset = self._camera(moment)
        turns = self._speed * moment.seconds + self._phase
        yaw = self._turn[0] + (self._turn[1] - self._turn[0]) * moment.part
        pose = fault.pose(replace(ACTIONS[self.action](turns), yaw=yaw), moment)
        look = fault.look(self.look, moment)
        aside = self._walk * (2 * moment.part - 1) + fault.jump(moment)
        foot = (self.foot[0] - offset[0] + aside * self.person, self.foot[1] - offset[1])
        bones = joints(pose, (look.shoulders, look.hips), foot, self.person)
        shapes = body(bones, look, pose)
        shapes += self.prop.shapes(offset, lambda column: fault.wrong_column(column, moment))
        return Drawing(
            moment=moment,
            shapes=tuple(sorted(shapes, key=lambda shape: -shape.depth)),
            bones=bones,
            look=look,
            yaw=pose.yaw,
            limb_sizes=pose.limb_sizes,
            offset=offset,
            foot=foot,
        )

    def paint(self, drawing: Drawing) -> Image:
        """The frame (H, W, 3)."""
        image_hwc = self.scene.picture(drawing.offset)
        foot, unit = drawing.foot, self.person
        _shadow(image_hwc, (foot[0], foot[1] + 0.01 * unit), 0.17 * unit)
        prop = (self.prop.x - drawing.offset[0], self.prop.y - drawing.offset[1])
        _shadow(image_hwc, prop, 0.5 * self.prop.width)
        for shape in drawing.shapes:
            paint(image_hwc, shape)
        rng = np.random.default_rng((self.plan.seed, _GRAIN, drawing.moment.number))
        return self.scene.grained(image_hwc, rng)

    def _camera(self, moment: Moment) -> tuple[int, int]:
        shake = self._shake[0] * math.sin(2 * math.pi * (0.21 * moment.seconds + self._shake[1]))
        right = self._pan[0] * (2 * moment.part - 1) + 0.4 * shake
        return self.scene.offset(
            float(np.clip(right, -1, 1)), float(np.clip(self._pan[1] * shake, -1, 1))
        )


def render(plan: ClipPlan, numbers: Sequence[int] | None = None) -> NDArray[np.uint8]:
    """The clip's frames (T, H, W, 3), or those asked for; the same for the same plan."""
    clip = Clip(plan)
    numbers = range(plan.frames) if numbers is None else numbers
    clip_thwc = np.empty((len(numbers), plan.height, plan.width, 3), np.uint8)
    for place, number in enumerate(numbers):
        clip_thwc[place] = clip.paint(clip.drawing(number))
    return clip_thwc


def _shadow(image_hwc: Image, centre: Point, half: float) -> None:
    """Darkens the floor under what stands there."""
    wide, flat = max(1, round(half)), max(2, round(half * 0.18))
    x, y = round(centre[0]), round(centre[1])
    left, top = max(x - wide, 0), max(y - flat, 0)
    area = image_hwc[top : max(y + flat + 1, 0), left : max(x + wide + 1, 0)]
    if area.size:
        dark = np.ones(area.shape[:2], np.float32)
        cv2.ellipse(dark, (x - left, y - top), (wide, flat), 0, 0, 360, 0.62, -1, cv2.LINE_AA)
        area[:] = (area * dark[..., None]).astype(np.uint8)
