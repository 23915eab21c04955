"""Does a video keep its colours and textures? Consistency of frames, without any weights.

As VBench scores subject and background, but on histograms instead of DINO and CLIP features: each
frame is compared with the first and with the one before. Histograms forget where things are, so
what moves does not count; what changes its colour, or its pattern, does. Likeness is Bhattacharyya's
coefficient, which minds small areas such as a shirt more than the cosine does.
Legend: h height, w width, c colour.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.flow import Image, Map, frame_pairs, one_thread, shrunk
from extract.transforms import Frames
from extract.views import View

SIDE = 256
REVISION = 1
MEASURES = ("inconsistency",)
_BLUR = 1.0
_LAB_BINS = 8
_LAB_LOW = np.array([0, -60, -60], np.float32)
_LAB_SPAN = np.array([100, 120, 120], np.float32)
_EDGE_BINS = 12
_EDGE_LOG_SPAN = 6.0
_TEXTURE = 0.25
DECIDES = {
    "features": "CIELAB histogram and edge strength histogram, Bhattacharyya",
    "side": SIDE,
    "blur": _BLUR,
    "bins": [_LAB_BINS, _EDGE_BINS],
    "texture": _TEXTURE,
    "revision": REVISION,
}
"""What decides the numbers, for fingerprints."""


def colour_measures(frames: Frames, views: Sequence[View]) -> Map:
    """Inconsistency (V, pairs, 1): of a pair's second frame with the first of all and with its own
    first, in 0…1."""
    return np.stack([_view_measures(frames, view) for view in views])


def _view_measures(frames: Frames, view: View) -> Map:
    pairs = frame_pairs(view)
    with one_thread():
        roots = {number: frame_roots(frames[number]) for number in dict.fromkeys(view.frames)}
    start = roots[pairs[0][0]]
    curve = [
        1 - (likeness(roots[second], start) + likeness(roots[second], roots[first])) / 2
        for first, second in pairs
    ]
    return np.array(curve, np.float32)[:, None]


def frame_roots(frame_hwc: Image) -> NDArray[np.float64]:
    """Square roots of both histograms, weighted, so that a dot product is the likeness."""
    small_hwc = cv2.GaussianBlur(shrunk(frame_hwc, SIDE), (0, 0), _BLUR)
    lab_hwc = cv2.cvtColor(small_hwc.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    colour = _histogram((lab_hwc - _LAB_LOW) / _LAB_SPAN, _LAB_BINS)
    light_hw = lab_hwc[..., 0]
    right_hw, down_hw = (cv2.Sobel(light_hw, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    strength_hw = np.log1p(np.sqrt(right_hw**2 + down_hw**2)) / np.float32(_EDGE_LOG_SPAN)
    texture = _histogram(strength_hw[..., None], _EDGE_BINS)
    return np.concatenate([np.sqrt((1 - _TEXTURE) * colour), np.sqrt(_TEXTURE * texture)])


def likeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """1 for equal histograms, 0 for such that share nothing."""
    return min(1.0, float((a * b).sum()))


def _histogram(values_hwc: Map, bins: int) -> NDArray[np.float64]:
    """Share of each cell of 0…1 cubed; a value is dealt to the cells around it by nearness."""
    channels = values_hwc.shape[-1]
    places = np.clip(values_hwc.reshape(-1, channels), 0, 1) * bins
    low = np.minimum(places.astype(np.int64), bins - 1)
    part = (places - low).astype(np.float64)
    total = np.zeros((bins + 1) ** channels)
    for corner in np.ndindex(*(2,) * channels):
        weight = np.prod([part[:, c] if up else 1 - part[:, c] for c, up in enumerate(corner)], 0)
        cell = np.ravel_multi_index(tuple((low + corner).T), (bins + 1,) * channels)
        total += np.bincount(cell, weight, minlength=len(total))
    return total / len(places)
