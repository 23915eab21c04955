"""Does a video keep its colours? Consistency of frames, without any weights.

In the place of VBench's subject and background consistency, with CIELAB histograms instead of
DINO and CLIP features. Histograms forget where things are, so what moves does not count; what
changes its colour, its pattern or its size does. Frames are averaged over a quarter of the pairs,
so that an action, which comes and goes, averages out, and each such quarter is compared with the
first one; VBench's other half, the comparison with the previous frame, is left out: it answers to
motion. Likeness is Bhattacharyya's coefficient, which minds small areas such as a shirt more than
the cosine does. A histogram of edge strength beside the colours was tried and told less.
Legend: h height, w width, c colour.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.priors.flow import Image, Map, frame_pairs, one_thread, shrunk
from extract.views.transforms import Frames
from extract.views.view import View

SIDE = 128
REVISION = 1
MEASURES = ("inconsistency",)
_BLUR = 1.0
_BINS = 8
_LOW = np.array([0, -60, -60], np.float32)
_SPAN = np.array([100, 120, 120], np.float32)
_WINDOW = 0.25
DECIDES = {
    "features": "CIELAB histogram, Bhattacharyya",
    "side": SIDE,
    "blur": _BLUR,
    "bins": _BINS,
    "window": _WINDOW,
    "revision": REVISION,
}
"""What decides the numbers, for fingerprints."""


def colour_measures(frames: Frames, views: Sequence[View]) -> Map:
    """Inconsistency (V, pairs, 1) in 0…1: of the quarter that ends with a pair with the first."""
    return np.stack([_view_measures(frames, view) for view in views])


def _view_measures(frames: Frames, view: View) -> Map:
    pairs = frame_pairs(view)
    with one_thread():
        found = {number: histogram(frames[number]) for number in dict.fromkeys(view.frames)}
    each = np.stack([(found[first] + found[second]) / 2 for first, second in pairs])
    return inconsistency(each)[:, None]


def inconsistency(histograms_pd: NDArray[np.float64]) -> Map:
    """A curve over pairs, of their histograms; 0 as long as the first quarter lasts."""
    count = len(histograms_pd)
    window = max(1, round(_WINDOW * count))
    starts = np.maximum(np.arange(count) - window + 1, 0)
    roots = np.sqrt([histograms_pd[start : start + window].mean(0) for start in starts])
    return np.asarray(np.maximum(1 - roots @ roots[0], 0), np.float32)


def histogram(frame_hwc: Image) -> NDArray[np.float64]:
    """Share of each CIELAB cell; a pixel is dealt to the eight cells around it by nearness."""
    small_hwc = cv2.GaussianBlur(shrunk(frame_hwc, SIDE), (0, 0), _BLUR)
    lab_hwc = cv2.cvtColor(small_hwc.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    places_nc = np.clip((lab_hwc.reshape(-1, 3) - _LOW) / _SPAN, 0, 1) * np.float32(_BINS)
    low_nc = np.minimum(places_nc.astype(np.int64), _BINS - 1)
    part_nc = places_nc - low_nc
    size = _BINS + 1
    first_n = (low_nc[:, 0] * size + low_nc[:, 1]) * size + low_nc[:, 2]
    total = np.zeros(size**3)
    for corner in np.ndindex(2, 2, 2):
        weight_n = np.abs(np.float32(1) - np.array(corner, np.float32) - part_nc).prod(1)
        step = (corner[0] * size + corner[1]) * size + corner[2]
        total += np.bincount(first_n + step, weight_n, minlength=size**3)
    return total / len(places_nc)
