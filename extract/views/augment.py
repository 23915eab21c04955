"""Training augmentation: RandAugment, random resized crop, random erasing, one draw per clip.

The operations, their ranges and their order are those of the released training (RandAugment
`rand-m7-n4-mstd0.5-inc1`, bicubic, crop 0.08-1.0 of the area at 3/4-4/3, no flip, erasing 0.25 by
pixel noise). Random numbers are Telltale's own, from the view's seed: the distribution is the
released one, single clips are not. Two differences below a level or so: everything stays uint8,
so erased pixels are clipped to 0…255, and OpenCV's bicubic kernel (a = -0.75) is not Pillow's.
No maintained library that can be imported beside torch 2.13's CPU build has these operations.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.errors import BadProtocol
from extract.views.protocol import TRAIN_AUGMENTATION
from extract.views.view import View

Image = NDArray[np.uint8]
Operation = Callable[[Image], Image]
Rng = np.random.Generator

MAGNITUDE, MAGNITUDE_STD, LAYERS, PROBABILITY = 7.0, 0.5, 4, 0.5
MAX_LEVEL = 10.0
FILL = (128, 128, 128)
CROP_AREA, CROP_ASPECT, CROP_TRIES = (0.08, 1.0), (0.75, 1.3333), 10
ERASE_PROBABILITY, ERASE_AREA, ERASE_ASPECT, ERASE_TRIES = 0.25, (0.02, 1 / 3), (0.3, 1 / 0.3), 100
_MEAN = np.array((0.485, 0.456, 0.406)) * 255
_STD = np.array((0.229, 0.224, 0.225)) * 255
_LEVELS = np.arange(256, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image_hwc: Image) -> Image:
        return image_hwc[self.top : self.top + self.height, self.left : self.left + self.width]


def augment_clip(frames_hwc: Sequence[Image], view: View) -> Image:
    """A training view's clip (T, S, S, 3): the same operations on every frame."""
    if view.augmentation != TRAIN_AUGMENTATION:
        raise BadProtocol(
            f"Augmentation {view.augmentation!r} unknown; have: {TRAIN_AUGMENTATION}."
        )
    height, width = frames_hwc[0].shape[:2]
    operations = draw_operations(view.rng("randaugment"))
    box = draw_crop(height, width, view.rng("crop"))
    clip_thwc = np.empty((len(frames_hwc), view.size, view.size, 3), np.uint8)
    done: dict[int, int] = {}
    for position, (number, frame_hwc) in enumerate(zip(view.frames, frames_hwc, strict=True)):
        if number in done:
            clip_thwc[position] = clip_thwc[done[number]]
            continue
        done[number] = position
        for operation in operations:
            frame_hwc = operation(frame_hwc)
        clip_thwc[position] = cv2.resize(
            box.cut(frame_hwc), (view.size, view.size), interpolation=cv2.INTER_LINEAR
        )
    erase(clip_thwc, view.rng("erase"))
    return clip_thwc


def draw_operations(rng: Rng) -> list[Operation]:
    """Four picks with replacement, each carried out with probability one half."""
    picks = [list(_OPERATIONS)[int(rng.integers(len(_OPERATIONS)))] for _ in range(LAYERS)]
    operations = []
    for name in picks:
        keep, level = rng.random(), rng.normal(MAGNITUDE, MAGNITUDE_STD)
        sign = -1.0 if rng.random() < 0.5 else 1.0
        if keep < PROBABILITY:
            part = min(max(level, 0.0), MAX_LEVEL) / MAX_LEVEL
            operations.append(_OPERATIONS[name](part, sign))
    return operations


def draw_crop(height: int, width: int, rng: Rng) -> Box:
    """A random part of the frame; if ten tries do not fit, the middle in an allowed aspect."""
    for _ in range(CROP_TRIES):
        area = rng.uniform(*CROP_AREA) * height * width
        aspect = math.exp(rng.uniform(math.log(CROP_ASPECT[0]), math.log(CROP_ASPECT[1])))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(rng.integers(height - box_height + 1))
            left = int(rng.integers(width - box_width + 1))
            return Box(top=top, left=left, height=box_height, width=box_width)
    box_height, box_width = height, width
    if width / height < CROP_ASPECT[0]:
        box_height = max(1, round(width / CROP_ASPECT[0]))
    elif width / height > CROP_ASPECT[1]:
        box_width = max(1, round(height * CROP_ASPECT[1]))
    return Box(
        top=(height - box_height) // 2,
        left=(width - box_width) // 2,
        height=box_height,
        width=box_width,
    )


def erase(clip_thwc: Image, rng: Rng) -> Box | None:
    """In place: with probability 0.25 noise over one rectangle, the same in every frame."""
    if rng.random() >= ERASE_PROBABILITY:
        return None
    frames, height, width = clip_thwc.shape[:3]
    for _ in range(ERASE_TRIES):
        area = rng.uniform(*ERASE_AREA) * height * width
        aspect = math.exp(rng.uniform(math.log(ERASE_ASPECT[0]), math.log(ERASE_ASPECT[1])))
        box_height, box_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_height < height and 0 < box_width < width:
            top = int(rng.integers(height - box_height + 1))
            left = int(rng.integers(width - box_width + 1))
            noise = rng.standard_normal((frames, box_height, box_width, 3)) * _STD + _MEAN
            clip_thwc[:, top : top + box_height, left : left + box_width] = np.clip(
                np.rint(noise), 0, 255
            )
            return Box(top=top, left=left, height=box_height, width=box_width)
    return None


def _table(values: NDArray[np.float64]) -> Operation:
    """A look-up table for all colours (256,) or one per colour (256, 3)."""
    table = np.clip(values, 0, 255).astype(np.uint8).reshape(1, 256, -1)
    return lambda image_hwc: np.asarray(cv2.LUT(image_hwc, table), np.uint8)


def _autocontrast(_part: float, _sign: float) -> Operation:
    def stretch(image_hwc: Image) -> Image:
        low = image_hwc.min(axis=(0, 1)).astype(np.float64)
        high = image_hwc.max(axis=(0, 1)).astype(np.float64)
        scale = np.where(high > low, 255 / np.maximum(high - low, 1), 1)
        offset = np.where(high > low, low, 0)
        return _table((_LEVELS[:, None] - offset) * scale)(image_hwc)

    return stretch


def _equalize(_part: float, _sign: float) -> Operation:
    return lambda image_hwc: _table(
        np.stack([_equal_levels(image_hwc[..., colour]) for colour in range(3)], axis=1)
    )(image_hwc)


def _equal_levels(channel_hw: Image) -> NDArray[np.float64]:
    counts = np.bincount(channel_hw.ravel(), minlength=256)
    used = counts[counts > 0]
    step = int(used.sum() - used[-1]) // 255
    if len(used) < 2 or step == 0:
        return _LEVELS
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    levels = np.minimum((before + step // 2) // step, 255)
    return np.asarray(levels, np.float64)


def _invert(_part: float, _sign: float) -> Operation:
    return _table(255 - _LEVELS)


def _posterize(part: float, _sign: float) -> Operation:
    bits = 4 - int(part * 4)
    return _table((_LEVELS.astype(np.int64) & ~(2 ** (8 - bits) - 1)).astype(np.float64))


def _solarize(part: float, _sign: float) -> Operation:
    return _table(np.where(256 - int(part * 256) <= _LEVELS, 255 - _LEVELS, _LEVELS))


def _solarize_add(part: float, _sign: float) -> Operation:
    return _table(np.where(_LEVELS < 128, np.minimum(_LEVELS + int(part * 110), 255), _LEVELS))


def _strength(part: float, sign: float) -> float:
    return 1.0 + sign * part * 0.9


def _color(part: float, sign: float) -> Operation:
    def saturate(image_hwc: Image) -> Image:
        grey_hwc = cv2.cvtColor(cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return _blend(np.asarray(grey_hwc, np.uint8), image_hwc, _strength(part, sign))

    return saturate


def _contrast(part: float, sign: float) -> Operation:
    def spread(image_hwc: Image) -> Image:
        grey_hw = np.asarray(cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY))
        mean = int(grey_hw.mean() + 0.5)
        return _table(mean + (_LEVELS - mean) * _strength(part, sign))(image_hwc)

    return spread


def _brightness(part: float, sign: float) -> Operation:
    return _table(_LEVELS * _strength(part, sign))


def _sharpness(part: float, sign: float) -> Operation:
    kernel = np.ones((3, 3), np.float32)
    kernel[1, 1] = 5

    def sharpen(image_hwc: Image) -> Image:
        smooth_hwc = image_hwc.copy()
        filtered = np.asarray(cv2.filter2D(image_hwc, -1, kernel / 13))
        smooth_hwc[1:-1, 1:-1] = filtered[1:-1, 1:-1]
        return _blend(smooth_hwc, image_hwc, _strength(part, sign))

    return sharpen


def _blend(from_hwc: Image, to_hwc: Image, amount: float) -> Image:
    """Beyond `to_hwc` where amount > 1, cut to 0…255."""
    blended = cv2.addWeighted(to_hwc, amount, from_hwc, 1 - amount, 0)
    return np.asarray(blended, np.uint8)


def _warp(matrix: Callable[[int, int], Sequence[Sequence[float]]]) -> Operation:
    """`matrix(height, width)` maps output to input, with pixel centres at one half."""

    def warp(image_hwc: Image) -> Image:
        height, width = image_hwc.shape[:2]
        inverse = np.array(matrix(height, width), np.float64)
        inverse[:, 2] += inverse[:, :2].sum(axis=1) * 0.5 - 0.5
        warped = cv2.warpAffine(
            image_hwc,
            inverse,
            (width, height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=FILL,
        )
        return np.asarray(warped, np.uint8)

    return warp


def _rotate(part: float, sign: float) -> Operation:
    angle = -math.radians(sign * part * 30)
    cos, sin = math.cos(angle), math.sin(angle)

    def matrix(height: int, width: int) -> Sequence[Sequence[float]]:
        x, y = width / 2, height / 2
        return [[cos, sin, x - cos * x - sin * y], [-sin, cos, y + sin * x - cos * y]]

    return _warp(matrix)


def _shear_x(part: float, sign: float) -> Operation:
    return _warp(lambda _height, _width: [[1, sign * part * 0.3, 0], [0, 1, 0]])


def _shear_y(part: float, sign: float) -> Operation:
    return _warp(lambda _height, _width: [[1, 0, 0], [sign * part * 0.3, 1, 0]])


def _translate_x(part: float, sign: float) -> Operation:
    return _warp(lambda _height, width: [[1, 0, sign * part * 0.45 * width], [0, 1, 0]])


def _translate_y(part: float, sign: float) -> Operation:
    return _warp(lambda height, _width: [[1, 0, 0], [0, 1, sign * part * 0.45 * height]])


_OPERATIONS: dict[str, Callable[[float, float], Operation]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "invert": _invert,
    "rotate": _rotate,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
