"""Decoded frames and views → what the networks are fed, as the released HumanSAM code does it.

Pixels stay uint8 up to the device; `normalise` is for tests and small runs. Resizing is OpenCV's
bilinear on uint8 without antialiasing, as released: other resizers are up to 13 levels off.
Legend: t frames, h height, w width, c colour, v views. Colours are RGB throughout.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.errors import BadSetting, OverLimit
from extract.views.augment import augment_clip
from extract.views.blend import blended
from extract.views.forging import forged
from extract.views.sampling import CLIP_FRAMES
from extract.views.view import DEPTH_POSITIONS, Crop, View

Frames = Mapping[int, NDArray[np.uint8]]
"""Frame number → frame_hwc."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEPTH_SIZE = 384
DEPTH_SOURCES = ("official", "full-frame")
MAX_RESIZED_PIXELS = 64 * 2**20
_DEPTH_MIDDLE = 1536


def view_clips(frames: Frames, views: Sequence[View]) -> NDArray[np.uint8]:
    """The clips (V, 8, S, S, 3) of all views. Each frame is resized once for all its crops."""
    size = views[0].size
    clips_vthwc = np.empty((len(views), CLIP_FRAMES, size, size, 3), np.uint8)
    wanted: dict[int, list[tuple[int, int]]] = {}
    for row, view in enumerate(views):
        if view.augmentation is not None:
            clips_vthwc[row] = augment_clip(view_frames(frames, view), view)
            continue
        if view.changed:
            for position, frame_hwc in enumerate(view_frames(frames, view)):
                resized_hwc = resize_short_side(frame_hwc, size)
                clips_vthwc[row, position] = take_crop(resized_hwc, view.crop, size)
            continue
        for position, number in enumerate(view.frames):
            wanted.setdefault(number, []).append((row, position))
    for number, places in wanted.items():
        resized_hwc = resize_short_side(frames[number], size)
        for row, position in places:
            clips_vthwc[row, position] = take_crop(resized_hwc, views[row].crop, size)
    return clips_vthwc


def view_frames(frames: Frames, view: View) -> list[NDArray[np.uint8]]:
    """Whole frames as the view has them, in its order."""
    chosen = [frames[number] for number in view.frames]
    return changed(chosen, [frames[number] for number in view.others], view)


def changed(
    chosen: list[NDArray[np.uint8]], others: list[NDArray[np.uint8]], view: View
) -> list[NDArray[np.uint8]]:
    """What a view makes of its pictures, and of those that are blended in."""
    if view.forgery:
        return forged(view.forgery, chosen, others, view.rng("forgery"))
    return blended(chosen, view.rng("blend")) if view.blended else chosen


def view_clip(frames: Frames, view: View) -> NDArray[np.uint8]:
    """One view's clip (8, S, S, 3)."""
    clip_thwc: NDArray[np.uint8] = view_clips(frames, [view])[0]
    return clip_thwc


def depth_frames(frames: Frames, view: View, source: str = "official") -> list[NDArray[np.uint8]]:
    """Frames 0 and 3 of a view, as Depth Pro's input chain takes them.

    `official`: the whole frame in validation and training (never augmented), the view's crop in
    testing. `full-frame`: always the whole frame.
    """
    if source not in DEPTH_SOURCES:
        raise BadSetting(f"Depth source {source!r} unknown; have: {', '.join(DEPTH_SOURCES)}.")
    if view.changed:
        pictures = view_frames(frames, view)
        whole = [pictures[position] for position in DEPTH_POSITIONS]
    else:
        whole = [frames[number] for number in view.depth_frames]
    if source == "full-frame" or view.crop.kind != "uniform":
        return whole
    return [
        take_crop(resize_short_side(frame_hwc, view.size), view.crop, view.size)
        for frame_hwc in whole
    ]


def depth_inputs(
    frames: Frames, views: Sequence[View], source: str = "official"
) -> NDArray[np.float32]:
    """Depth Pro's inputs (V, 2, 3, 384, 384); what views share is computed once."""
    shape = (len(views), len(DEPTH_POSITIONS), 3, DEPTH_SIZE, DEPTH_SIZE)
    inputs = np.empty(shape, np.float32)
    done: dict[tuple[int, Crop | None, int | None], tuple[int, int]] = {}
    for row, view in enumerate(views):
        cropped = source == "official" and view.crop.kind == "uniform"
        alone = view.index if view.changed else None
        keys = [(number, view.crop if cropped else None, alone) for number in view.depth_frames]
        if all(key in done for key in keys):
            for slot, key in enumerate(keys):
                inputs[row, slot] = inputs[done[key]]
            continue
        for slot, (key, frame_hwc) in enumerate(
            zip(keys, depth_frames(frames, view, source), strict=True)
        ):
            inputs[row, slot] = _depth_image(frame_hwc)
            done.setdefault(key, (row, slot))
    return inputs


def full_frame_depth_inputs(frames: Frames, views: Sequence[View]) -> NDArray[np.float32]:
    """`depth_inputs` with the source `full-frame`."""
    return depth_inputs(frames, views, "full-frame")


def depth_input(frames_thwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Frames of any size → Depth Pro's 384-pixel input (T, 3, 384, 384), in -1…1.

    As released: normalise by 0.5/0.5, bilinear to 1536², bilinear by 0.25. Both steps are linear
    and separable, so they are one small matrix per axis.
    """
    if frames_thwc.ndim != 4 or frames_thwc.shape[-1] != 3 or frames_thwc.dtype != np.uint8:
        raise BadSetting(
            f"Depth input got {frames_thwc.dtype} {frames_thwc.shape}; give uint8 (T, H, W, 3)."
        )
    return np.stack([_depth_image(frame_hwc) for frame_hwc in frames_thwc])


def normalise(
    clip_thwc: NDArray[np.uint8],
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> NDArray[np.float32]:
    """uint8 (T, H, W, 3) → the video network's float32 (3, T, H, W)."""
    scaled = clip_thwc.astype(np.float32) / np.float32(255)
    normal = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normal.transpose(3, 0, 1, 2))


def resized_size(height: int, width: int, short: int) -> tuple[int, int]:
    """Height and width after the short side is made `short`; the long side is truncated."""
    if width <= height:
        return int(short * height / width), short
    return short, int(short * width / height)


def resize_short_side(frame_hwc: NDArray[np.uint8], short: int) -> NDArray[np.uint8]:
    height, width = frame_hwc.shape[:2]
    new_height, new_width = allowed_size(height, width, short)
    if (height, width) == (new_height, new_width):
        return frame_hwc
    resized = cv2.resize(frame_hwc, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def allowed_size(height: int, width: int, short: int) -> tuple[int, int]:
    """`resized_size`, unless that is too large to be made."""
    new_height, new_width = resized_size(height, width, short)
    if new_height * new_width > MAX_RESIZED_PIXELS:
        raise OverLimit(
            f"{width}x{height} becomes {new_width}x{new_height} when its short side is made "
            f"{short}; at most {MAX_RESIZED_PIXELS / 1e6:.0f} million pixels are made"
        )
    return new_height, new_width


def crop_start(height: int, width: int, crop: Crop, size: int) -> tuple[int, int]:
    """Top and left of a crop in a resized frame.

    The centre crop rounds half to even, the crops along the long side truncate: as released.
    """
    if crop.kind == "center":
        return round((height - size) / 2), round((width - size) / 2)
    if crop.count == 1:
        start = int((max(height, width) - size) / 2)
    else:
        start = int(crop.position * ((max(height, width) - size) / (crop.count - 1)))
    return (start, 0) if height >= width else (0, start)


def take_crop(resized_hwc: NDArray[np.uint8], crop: Crop, size: int) -> NDArray[np.uint8]:
    top, left = crop_start(resized_hwc.shape[0], resized_hwc.shape[1], crop, size)
    return resized_hwc[top : top + size, left : left + size]


def _depth_image(frame_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(3, 384, 384). Each output pixel is a weighted sum of four rows and four columns."""
    rows, row_weights = depth_taps(frame_hwc.shape[0])
    columns, column_weights = depth_taps(frame_hwc.shape[1])
    tall_hwc = _weighted(lambda tap: frame_hwc[rows[tap]], row_weights[:, :, None, None])
    tall_wch = np.ascontiguousarray(tall_hwc.transpose(1, 2, 0))
    small_wch = _weighted(lambda tap: tall_wch[columns[tap]], column_weights[:, :, None, None])
    small_wch *= np.float32(1 / 127.5)
    small_wch -= np.float32(1)
    return np.ascontiguousarray(small_wch.transpose(1, 2, 0))


def _weighted(
    tap_values: Callable[[int], NDArray[np.generic]], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    total: NDArray[np.float32] = np.multiply(tap_values(0), weights[0], dtype=np.float32)
    for tap in range(1, len(weights)):
        total += np.multiply(tap_values(tap), weights[tap], dtype=np.float32)
    return total


@lru_cache(maxsize=64)
def depth_taps(length: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Indices and weights (4, 384) of one axis: to 1536, then the middle two of every four.

    Source coordinates are rounded to float32 once, after a fused multiply-add, as torch's kernels
    do: the matrices are torch's to the last bit. Kept in float64 a 720p image is 1e-4 off.
    """
    cells = np.arange(DEPTH_SIZE) * 4 + 1
    first, first_weight = _bilinear_taps(length, cells)
    second, second_weight = _bilinear_taps(length, cells + 1)
    half = np.float32(0.5)
    return np.concatenate([first, second]), np.concatenate(
        [first_weight * half, second_weight * half]
    )


def _bilinear_taps(
    length: int, places: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    scale = np.float64(np.float32(length) / np.float32(_DEPTH_MIDDLE))
    exact = np.maximum(scale * (places + 0.5) - 0.5, 0)
    source = exact.astype(np.float32)
    low = np.minimum(np.floor(source).astype(np.intp), length - 1)
    high = np.minimum(low + 1, length - 1)
    weight = np.clip(source - low.astype(np.float32), 0, 1).astype(np.float32)
    return np.stack([low, high]), np.stack([np.float32(1) - weight, weight])
