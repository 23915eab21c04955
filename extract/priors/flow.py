"""Dense optical flow between adjacent frames, and what it says of them, without any weights.

DIS flow (Kroeger et al. 2016, OpenCV's), forward and backward. The *warping error* follows Lai et
al. 2018: the next frame is warped back by the flow, and compared where both flows agree. Three
things are added so that it speaks of motion, not of a generator's grain or palette: the picture's
noise floor is taken off, changes of colour over an area are not counted, and pixels count as far
as they move against the rest of the picture, so that neither a moving camera nor a flickering
pattern is taken for one. The *rigidity residual* is a stand-in for depth distortion, which needs a
depth network: how much the flow swells and shrinks against how much it turns. Rigid things that
move before a distant camera turn, they do not swell.

One thread, so that the numbers do not depend on the machine's cores.
Legend: h height, w width, c colour.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.errors import VideoError
from extract.views.transforms import Frames
from extract.views.view import View

Image = NDArray[np.uint8]
Map = NDArray[np.float32]

SIDE = 192
"""Of the long side: large enough for a limb, small enough that grain does not matter."""
REVISION = 1
MEASURES = ("warping", "rigidity")
"""Columns of `flow_measures`."""
_LEAST = 64
_BLUR = 1.5
_DETAIL = 9
_NOISE = 4.0
_SMOOTH = 3.0
_LITTLE = 1e-3
_threads = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Warp:
    """The flow between two frames and where it can be trusted."""

    flow_hwc: Map
    """For each pixel of the first frame, where it is in the second: right, down, in pixels."""
    inside_hw: NDArray[np.bool_]
    """Where it is still in the picture."""
    visible_hw: NDArray[np.bool_]
    """Where the way back ends where the way there began: not hidden in either frame."""


def flow_measures(frames: Frames, views: Sequence[View]) -> Map:
    """Warping error and rigidity residual (V, pairs, 2) of each view's pairs of frames."""
    return np.stack([_view_measures(frames, view) for view in views])


def _view_measures(frames: Frames, view: View) -> Map:
    pairs = frame_pairs(view)
    done: dict[tuple[int, int], tuple[float, float]] = {}
    with one_thread():
        ready = {number: prepared(frames[number]) for number in dict.fromkeys(view.frames)}
        for first, second in pairs:
            if (first, second) not in done:
                a_hwc, b_hwc = ready[first], ready[second]
                warp = find_warp(a_hwc, b_hwc)
                done[first, second] = warping_error(a_hwc, b_hwc, warp), rigidity(warp)
    return np.array([done[pair] for pair in pairs], np.float32)


def frame_pairs(view: View) -> list[tuple[int, int]]:
    """The frame numbers of a view's pairs."""
    pairs = list(zip(view.frames[::2], view.frames[1::2], strict=True))
    if pairs[-1][1] == 0:
        raise VideoError("it has one frame; scores that compare frames need two")
    return pairs


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV's flow depends on how many stripes the picture is cut into, one a thread."""
    with _threads:
        before = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield
        finally:
            cv2.setNumThreads(before)


def shrunk(frame_hwc: Image, side: int) -> Image:
    """The long side at most `side`."""
    height, width = frame_hwc.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return frame_hwc
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(frame_hwc, size, interpolation=cv2.INTER_AREA), np.uint8)


def prepared(frame_hwc: Image) -> Image:
    """As both measures take a frame: small, and without its grain, at least 64 pixels a side.

    DIS reads outside of narrower ones (`SIDE` at its coarsest scale is 8 times smaller, and a patch
    has 8 pixels), which can end the process.
    """
    small = shrunk(frame_hwc, SIDE)
    height, width = small.shape[:2]
    short = (0, max(0, _LEAST - height), 0, max(0, _LEAST - width))
    padded = cv2.copyMakeBorder(small, *short, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.GaussianBlur(padded, (0, 0), _BLUR), np.uint8)


def find_warp(a_hwc: Image, b_hwc: Image) -> Warp:
    """Flow from a to b. A pixel is visible after Sundaram et al. 2010, as Lai et al. have it."""
    there, back = dis_flow(a_hwc, b_hwc)
    back_hwc = warped(back, there)
    height, width = a_hwc.shape[:2]
    columns, rows = _places(there)
    inside = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
    apart = ((there + back_hwc) ** 2).sum(-1)
    lengths = (there**2).sum(-1) + (back_hwc**2).sum(-1)
    return Warp(
        flow_hwc=there, inside_hw=inside, visible_hw=inside & (apart <= 0.01 * lengths + 0.5)
    )


def dis_flow(a_hwc: Image, b_hwc: Image) -> tuple[Map, Map]:
    """There and back (h, w, 2). Call it within `one_thread`."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    a_hw, b_hw = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (a_hwc, b_hwc))
    there = np.asarray(dis.calc(a_hw, b_hw, None), np.float32)  # type: ignore[call-overload]
    back = np.asarray(dis.calc(b_hw, a_hw, None), np.float32)  # type: ignore[call-overload]
    return there, back


def warped(image_hwc: NDArray[np.generic], flow_hwc: Map) -> Map:
    """What each pixel sees where the flow takes it."""
    columns, rows = _places(flow_hwc)
    floats = np.asarray(image_hwc, np.float32)
    return np.asarray(
        cv2.remap(floats, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def _places(flow_hwc: Map) -> tuple[Map, Map]:
    height, width = flow_hwc.shape[:2]
    columns = np.arange(width, dtype=np.float32)[None] + flow_hwc[..., 0]
    rows = np.arange(height, dtype=np.float32)[:, None] + flow_hwc[..., 1]
    return columns, rows


def warping_error(a_hwc: Image, b_hwc: Image, warp: Warp) -> float:
    """How badly the flow explains the next frame, where things move; 0 if it does.

    Levels in 0…1 times lengths of the picture, times 1000.
    """
    if not warp.visible_hw.any():
        return 0.0
    difference_hwc = (warped(b_hwc, warp.flow_hwc) - a_hwc.astype(np.float32)) / np.float32(255)
    difference_hwc -= cv2.blur(difference_hwc, (_DETAIL, _DETAIL))
    square_hw = (difference_hwc**2).mean(-1)
    noise = np.median(square_hw[warp.visible_hw])
    error_hw = np.sqrt(np.maximum(square_hw - np.float32(_NOISE) * noise, 0))
    moved_hw = np.sqrt((own_motion(warp) ** 2).sum(-1)) / max(a_hwc.shape[:2])
    return float(1000 * (error_hw * moved_hw)[warp.visible_hw].mean(dtype=np.float64))


def rigidity(warp: Warp) -> float:
    """Swelling and shrinking over turning, both as the mean size of the flow's derivatives."""
    smooth_hwc = cv2.GaussianBlur(own_motion(warp), (0, 0), _SMOOTH)
    right_hwc, down_hwc = (
        cv2.Sobel(smooth_hwc, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))
    )
    swells = np.abs(right_hwc[..., 0] + down_hwc[..., 1]).mean(dtype=np.float64)
    turns = np.abs(right_hwc[..., 1] - down_hwc[..., 0]).mean(dtype=np.float64)
    return float(swells / (turns + _LITTLE))


def own_motion(warp: Warp) -> Map:
    """Flow against the picture's: without a camera that moves sideways."""
    whole = np.median(warp.flow_hwc.reshape(-1, 2), axis=0)
    return np.asarray(warp.flow_hwc - whole, np.float32)


DECIDES = {
    "flow": "DIS, ultrafast, forward and backward",
    "side": SIDE,
    "blur": _BLUR,
    "detail": _DETAIL,
    "noise": _NOISE,
    "smooth": _SMOOTH,
    "little": _LITTLE,
    "revision": REVISION,
}
"""What decides the numbers, for fingerprints."""
