"""What the tiny networks learn from: views of made-up clips, drawn directly, with the truth.

No generator of `telltale synth` is among them: size, rate, palette, noise and quality are drawn at
random, and nothing passes a video codec. Clips come in fours that share everything but the fault:
one of each class. Legend: t frames, h height, w width, c colour, g fields of a map, k numbers.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.manifest.labels import SCHEMES
from extract.synthesis.clip import Clip, ClipPlan, Drawing
from extract.synthesis.faults import KINDS, random_fault
from extract.synthesis.person import DISTANCE
from extract.synthesis.shapes import PARTS, Image, stamp
from extract.synthesis.truth import parts_of
from extract.views.sampling import CLIP_FRAMES
from extract.views.view import CLIP_SIZE

CLASSES = SCHEMES["hfv4"].classes
NAMES = tuple(kind for kinds in KINDS.values() for kind in kinds)
FIELD = 7
"""Pixels of a view per field of its maps."""
DEPTH_FIELDS = 48
_LIMBS = [PARTS.index(f"{side} {limb}") for limb in ("arm", "leg") for side in ("left", "right")]
_ENDS = [PARTS.index(f"{side} {end}") for end in ("hand", "shoe") for side in ("left", "right")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """Of one picture, in fields."""

    parts: NDArray[np.uint8]
    """Index in PARTS."""
    wrong: NDArray[np.float32]
    """1 where person and object overlap in an order that cannot be."""
    limb: NDArray[np.float32]
    """Logarithm of a limb's size, where it is seen; 0 is as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One view of a clip."""

    clip_thwc: Image
    parts_tgg: NDArray[np.uint8]
    wrong_tgg: NDArray[np.float32]
    limb_tgg: NDArray[np.float32]
    states_tk: NDArray[np.float32]
    """What each frame's person is like, in numbers of about unit size."""
    kind: int
    label: int
    depth_hwc: Image
    """One frame as the depth network sees it."""
    depth_maps: Maps
    depth_state_k: NDArray[np.float32]
    """What that frame's vector has to say."""


def four(seed: tuple[int, ...]) -> Iterator[Sample]:
    """One clip of each class, alike but for their faults."""
    rng = np.random.default_rng(seed)
    plan = _plan(rng)
    clip = Clip(plan)
    times = _times(plan.frames, rng)
    look = _Eye.drawn(plan, rng)
    for label, name in enumerate(CLASSES):
        severity = 0.0 if name == "real" else float(rng.uniform(0.3, 1.0))
        one = copy.copy(clip)
        one.fault = random_fault(name, severity, clip.look, rng).beside(clip.prop.hides)
        yield _sample(one, label, times, look, rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Eye:
    """How a clip's frames become views."""

    scale: float
    left: int
    top: int
    jpeg: int | None
    whole: bool
    """Whether the depth network sees the whole frame, or the view."""

    @staticmethod
    def drawn(plan: ClipPlan, rng: np.random.Generator) -> "_Eye":
        scale = CLIP_SIZE / min(plan.width, plan.height)
        spare = [round(size * scale) - CLIP_SIZE for size in (plan.width, plan.height)]
        place = 0.5 if rng.random() < 0.7 else float(rng.uniform(0.2, 0.8))
        left, top = (max(0, round(room * place / FIELD) * FIELD) for room in spare)
        left, top = (min(x, room) for x, room in zip((left, top), spare, strict=True))
        jpeg = int(rng.integers(35, 90)) if rng.random() < 0.5 else None
        return _Eye(scale=scale, left=left, top=top, jpeg=jpeg, whole=bool(rng.random() < 0.6))

    def view(self, image_hwc: Image) -> Image:
        """Resized and cropped as the validation protocol does it."""
        size = (round(image_hwc.shape[1] * self.scale), round(image_hwc.shape[0] * self.scale))
        resized = cv2.resize(image_hwc, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(
            resized[self.top : self.top + CLIP_SIZE, self.left : self.left + CLIP_SIZE], np.uint8
        )

    def fields(self, map_hw: NDArray[np.generic]) -> NDArray[np.generic]:
        side, left, top = CLIP_SIZE // FIELD, self.left // FIELD, self.top // FIELD
        part = map_hw[top : top + side, left : left + side]
        missing = [(0, side - length) for length in part.shape]
        return np.pad(part, missing, mode="edge")


def _plan(rng: np.random.Generator) -> ClipPlan:
    short = int(rng.integers(184, 280))
    long = round(short * (1 if rng.random() < 0.35 else rng.uniform(1.05, 1.7)))
    width, height = (long, short) if rng.random() < 0.55 else (short, long)
    frames = int(rng.integers(20, 34))
    return ClipPlan(
        width=width,
        height=height,
        frames=frames,
        fps=frames / float(rng.uniform(1.9, 3.1)),
        tint=tuple(int(level) for level in rng.integers(135, 215, 3)),  # type: ignore[arg-type]
        grain=float(rng.uniform(0.5, 6)),
        label="real",
        severity=0.0,
        seed=int(rng.integers(2**62)),
        shot="close" if rng.random() < 0.08 else "full",
    )


def _times(frames: int, rng: np.random.Generator) -> list[int]:
    """One frame of each eighth: its middle, or any, as validation and training have it."""
    places = np.full(CLIP_FRAMES, 0.5) if rng.random() < 0.5 else rng.random(CLIP_FRAMES)
    return [int((i + place) * frames / CLIP_FRAMES) for i, place in enumerate(places)]


def _sample(
    clip: Clip, label: int, times: list[int], eye: _Eye, rng: np.random.Generator
) -> Sample:
    drawings = [clip.drawing(number) for number in times]
    frames = [_degraded(clip.paint(drawing), eye.jpeg) for drawing in drawings]
    views = np.stack([eye.view(frame) for frame in frames])
    maps = [_maps(clip, drawing, eye.scale / FIELD) for drawing in drawings]
    chosen = int(rng.integers(len(times)))
    seen = frames[chosen] if eye.whole else views[chosen]
    return Sample(
        clip_thwc=views,
        parts_tgg=np.stack([eye.fields(m.parts) for m in maps]).astype(np.uint8),
        wrong_tgg=np.stack([eye.fields(m.wrong) for m in maps]).astype(np.float32),
        limb_tgg=np.stack([eye.fields(m.limb) for m in maps]).astype(np.float32),
        states_tk=np.stack([_state(clip, drawing) for drawing in drawings]),
        kind=NAMES.index(clip.fault.kind),
        label=label,
        depth_hwc=seen,
        depth_maps=_depth_maps(clip, drawings[chosen], eye),
        depth_state_k=_depth_state(clip, drawings[chosen]),
    )


def _degraded(image_hwc: Image, quality: int | None) -> Image:
    if quality is None:
        return image_hwc
    _, packed = cv2.imencode(".jpg", image_hwc, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def _maps(clip: Clip, drawing: Drawing, scale: float) -> Maps:
    size = (math.ceil(clip.plan.height * scale), math.ceil(clip.plan.width * scale))
    parts = parts_of(clip, drawing, stamp(drawing.shapes, size, scale), scale)
    person = [shape for shape in drawing.shapes if shape.part != "object"]
    thing = [shape for shape in drawing.shapes if shape.part == "object"]
    sides = np.array([(shape.depth < DISTANCE) != clip.prop.front for shape in thing] + [False])
    overlap = stamp(person, size, scale) >= 0
    wrong = overlap & sides[stamp(thing, size, scale)]
    sizes = np.zeros(len(PARTS), np.float32)
    sizes[_LIMBS] = sizes[_ENDS] = np.log(drawing.limb_sizes)
    return Maps(parts=parts, wrong=wrong.astype(np.float32), limb=sizes[parts])


def _depth_maps(clip: Clip, drawing: Drawing, eye: _Eye) -> Maps:
    """Of the square picture that the depth network gets."""
    maps = _maps(clip, drawing, 0.5 if eye.whole else eye.scale * 0.5)
    if not eye.whole:
        side, left, top = CLIP_SIZE // 2, eye.left // 2, eye.top // 2
        area = (slice(top, top + side), slice(left, left + side))
        maps = Maps(parts=maps.parts[area], wrong=maps.wrong[area], limb=maps.limb[area])
    size = (DEPTH_FIELDS, DEPTH_FIELDS)
    return Maps(
        parts=np.asarray(cv2.resize(maps.parts, size, interpolation=cv2.INTER_NEAREST), np.uint8),
        wrong=np.asarray(cv2.resize(maps.wrong, size, interpolation=cv2.INTER_AREA), np.float32),
        limb=np.asarray(cv2.resize(maps.limb, size, interpolation=cv2.INTER_NEAREST), np.float32),
    )


def _state(clip: Clip, drawing: Drawing) -> NDArray[np.float32]:
    """Colours, build, limbs, turn, place and order of one frame."""
    look, fault = drawing.look, clip.fault
    colours = [look.shirt, look.stripe, look.trousers, look.hair, look.skin]
    yaw = math.radians(drawing.yaw)
    wrong = np.mean([fault.wrong_column(x, drawing.moment) for x in np.linspace(-0.4, 0.4, 17)])
    return np.array(
        [
            *(np.array(colours).ravel() / 64 - 2),
            look.stripes / 4,
            3 * math.log(look.bulk),
            look.hair_length,
            *(3 * np.log(drawing.limb_sizes)),
            math.cos(yaw),
            math.sin(yaw),
            8 * fault.jump(drawing.moment),
            _unrest(clip, drawing),
            2 * wrong,
            2 * (float(wrong > 0.5) if clip.prop.front else float(wrong <= 0.5)),
        ],
        np.float32,
    )


def _unrest(clip: Clip, drawing: Drawing) -> float:
    """How far joints are from where they should be, in tenths of heights."""
    if clip.fault.kind != "jitter":
        return 0.0
    calm = copy.copy(clip)
    calm.fault = replace(clip.fault, severity=0.0)
    bones = calm.drawing(drawing.moment.number).bones
    away = drawing.bones.points - bones.points
    return float(np.abs(away).mean() / clip.person * 20)


def _depth_state(clip: Clip, drawing: Drawing) -> NDArray[np.float32]:
    """What the depth network's vector has to say of a frame: orders and sizes."""
    maps = _maps(clip, drawing, 0.25)
    person, thing = (maps.parts > PARTS.index("object")), maps.parts == PARTS.index("object")
    wrong = float(maps.wrong.sum() / max(1, person.sum() + maps.wrong.sum()))
    sizes = 3 * np.log(drawing.limb_sizes)
    return np.array(
        [
            min(1.0, 8 * wrong) * 2,
            float(wrong > 0.01),
            *sizes,
            float(np.abs(sizes).max()),
            float(clip.prop.front),
            person.mean() * 4,
            thing.mean() * 8,
            3 * math.log(drawing.look.bulk),
        ],
        np.float32,
    )
