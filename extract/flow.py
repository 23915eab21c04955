"""Optical flow between adjacent frames, and what it fails to explain.

DIS optical flow needs no weights. Warping the next frame back by the flow shows how well motion
explains the change (Lai et al. 2018). They leave out what is hidden in one of the frames, found
where forward and backward flow disagree. Two errors come of it: over all that stays in the picture,
since flow disagrees most where a body is torn, and over what both flows agree on.

OpenCV splits DIS by threads and the numbers follow the split, so one thread is used wherever this
runs. Legend: h height, w width, c flow x and y, v views.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.errors import DamagedVideo
from extract.transforms import Frames
from extract.views import PAIRS, View

SHORT_SIDE = 192
BLUR_SIGMA = 1.0
"""Takes codec and sensor noise off, which no flow explains."""
MEASURES = ("warp", "rigidity")
SETTINGS = {
    "flow": "DIS medium, OpenCV",
    "short_side": SHORT_SIDE,
    "blur_sigma": BLUR_SIGMA,
    "pairs": PAIRS,
    "revision": 1,
}
_OCCLUSION = (0.01, 0.5)
_LEAST_MOTION = 0.05
"""Pixels: less than this is no motion to compare an error with."""
_GRID = 8
_LEAST_SIDE, _LONGEST_SIDE = 16, 768

Grey = NDArray[np.uint8]
Flow = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairErrors:
    """What the flow from one frame to the next says of the two."""

    warp: float
    """Mean absolute error of the warped next frame over what stays in the picture, in 0…1."""
    rigidity: float
    """The error where the flows agree, by pixels of motion beside the camera's: change without
    motion."""


def pair_errors(frames: Frames, views: Sequence[View]) -> NDArray[np.float32]:
    """(V, pairs, measures): what decode workers make for the branches motion and spatial."""
    errors_vpm = np.empty((len(views), PAIRS, len(MEASURES)), np.float32)
    done: dict[tuple[int, int], PairErrors] = {}
    for row, view in enumerate(views):
        for place, pair in enumerate(adjacent_pairs(view)):
            if pair not in done:
                done[pair] = compare(*(grey_frame(frames[number]) for number in pair))
            errors_vpm[row, place] = done[pair].warp, done[pair].rigidity
    return errors_vpm


def adjacent_pairs(view: View) -> list[tuple[int, int]]:
    """The view's frame numbers, two and two."""
    numbers = view.frames
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    if len(pairs) != PAIRS or any(b - a not in (0, 1) for a, b in pairs):
        raise DamagedVideo(
            f"prior scores need pairs of adjacent frames: use protocol pairs-{PAIRS}"
        )
    if pairs[0][0] == pairs[-1][1]:
        raise DamagedVideo("it has a single frame, and prior scores compare adjacent frames")
    return pairs


def grey_frame(frame_hwc: NDArray[np.uint8]) -> Grey:
    """Small, smooth and grey."""
    grey_hw = cv2.cvtColor(small_frame(frame_hwc), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.GaussianBlur(grey_hw, (0, 0), BLUR_SIGMA), np.uint8)


def small_frame(frame_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The short side made 192, less where the long one would get too long."""
    height, width = frame_hwc.shape[:2]
    scale = min(SHORT_SIDE / min(height, width), _LONGEST_SIDE / max(height, width))
    size = (max(round(width * scale), _LEAST_SIDE), max(round(height * scale), _LEAST_SIDE))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame_hwc, size, interpolation=way), np.uint8)


def compare(first_hw: Grey, next_hw: Grey) -> PairErrors:
    """Warp the next frame onto the first, and see what is left."""
    with _one_thread():
        forward = dis_flow(first_hw, next_hw)
        backward = dis_flow(next_hw, first_hw)
    warped = warp(next_hw.astype(np.float32), forward)
    error_hw = np.abs(first_hw.astype(np.float32) - warped) / 255
    seen = ~occluded(forward, backward)
    inside = stays_inside(forward)
    own = np.linalg.norm(forward - camera_flow(forward), axis=-1)
    motion = float(own.mean(dtype=np.float64))
    return PairErrors(
        warp=_mean(error_hw, inside),
        rigidity=_mean(error_hw, inside & seen) / (motion + _LEAST_MOTION),
    )


def _mean(error_hw: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Over everything where nothing is left to compare."""
    return float((error_hw[where] if where.any() else error_hw).mean(dtype=np.float64))


def stays_inside(flow_hwc: Flow) -> NDArray[np.bool_]:
    """Which pixels the flow does not lead out of the picture."""
    height, width = flow_hwc.shape[:2]
    rows, columns = np.indices((height, width), np.float32)
    x, y = columns + flow_hwc[..., 0], rows + flow_hwc[..., 1]
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))


def dis_flow(first_hw: Grey, next_hw: Grey) -> Flow:
    """Where each pixel of the first frame goes (H, W, 2)."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    start = np.zeros((*first_hw.shape, 2), np.float32)
    return np.asarray(estimator.calc(first_hw, next_hw, start), np.float32)


def warp(image: NDArray[np.float32], flow_hwc: Flow) -> NDArray[np.float32]:
    """The image as seen from where the flow starts; edges are repeated."""
    rows, columns = np.indices(flow_hwc.shape[:2], np.float32)
    moved = cv2.remap(
        image, columns + flow_hwc[..., 0], rows + flow_hwc[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(moved, np.float32)


def occluded(forward_hwc: Flow, backward_hwc: Flow) -> NDArray[np.bool_]:
    """Where going there and back does not lead back (Sundaram et al. 2010)."""
    back_hwc = warp(backward_hwc, forward_hwc)
    gap = ((forward_hwc + back_hwc) ** 2).sum(axis=-1)
    share, least = _OCCLUSION
    lengths = (forward_hwc**2).sum(axis=-1) + (back_hwc**2).sum(axis=-1)
    return np.asarray(gap > share * lengths + least)


def camera_flow(flow_hwc: Flow) -> Flow:
    """The affine motion that most of the picture follows; none where none can be found."""
    height, width = flow_hwc.shape[:2]
    rows, columns = np.mgrid[_GRID // 2 : height : _GRID, _GRID // 2 : width : _GRID]
    start = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)
    end = start + flow_hwc[rows.ravel(), columns.ravel()]
    cv2.setRNGSeed(0)
    affine, _ = cv2.estimateAffine2D(start, end, method=cv2.LMEDS)
    if affine is None or not np.isfinite(affine).all():
        return np.zeros_like(flow_hwc)
    y, x = np.indices((height, width), np.float32)
    places = np.stack([x, y, np.ones_like(x)], axis=-1)
    return np.asarray(places @ affine.T.astype(np.float32) - places[..., :2], np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
