"""What a frame looks like, without a network: its colours and its texture.

Two histograms of a frame, centre weighted since people stand there: the chroma (CIELAB a and b,
blurred so that neighbouring colours are alike) and the strength and direction of edges. Each is a
vector of square roots, so that a dot product is the Bhattacharyya coefficient: 1 for the same,
0 for nothing in common. Neither says where anything is, so motion leaves them alone.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.flow import SHORT_SIDE, adjacent_pairs, small_frame
from extract.transforms import Frames
from extract.views import PAIRS, View

CHROMA_BINS = 32
DIRECTIONS = 8
STRENGTHS = 8
LOOK = CHROMA_BINS**2 + DIRECTIONS * STRENGTHS
CHROMA_SHARE = 0.9
"""Of the similarity; the rest is texture."""
CENTRE_WIDTH = 0.35
"""Standard deviation of the weight's bell, in half widths of the picture."""
SETTINGS = {
    "short_side": SHORT_SIDE,
    "chroma_bins": CHROMA_BINS,
    "texture_bins": [DIRECTIONS, STRENGTHS],
    "chroma_share": CHROMA_SHARE,
    "centre_width": CENTRE_WIDTH,
    "pairs": PAIRS,
    "revision": 1,
}
_STRONGEST = 256.0


def view_looks(frames: Frames, views: Sequence[View]) -> NDArray[np.float32]:
    """(V, 2 x pairs, look): every frame's look, a unit vector, in the view's order."""
    looks = np.empty((len(views), 2 * PAIRS, LOOK), np.float32)
    done: dict[int, NDArray[np.float32]] = {}
    for row, view in enumerate(views):
        adjacent_pairs(view)
        for place, number in enumerate(view.frames):
            if number not in done:
                done[number] = frame_look(frames[number])
            looks[row, place] = done[number]
    return looks


def frame_look(frame_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colours and texture as one unit vector."""
    small = small_frame(frame_hwc)
    across = np.linspace(-1, 1, small.shape[1])
    weight_hw = np.broadcast_to(np.exp(-((across / CENTRE_WIDTH) ** 2) / 2), small.shape[:2])
    parts = (
        np.sqrt(CHROMA_SHARE * _chroma(small, weight_hw)),
        np.sqrt((1 - CHROMA_SHARE) * _texture(small, weight_hw)),
    )
    return np.concatenate(parts).astype(np.float32)


def _chroma(small_hwc: NDArray[np.uint8], weight_hw: NDArray[np.float64]) -> NDArray[np.float64]:
    lab = np.asarray(cv2.cvtColor(small_hwc, cv2.COLOR_RGB2LAB)).astype(np.intp)
    place = lab[..., 1] * CHROMA_BINS // 256 * CHROMA_BINS + lab[..., 2] * CHROMA_BINS // 256
    counts = np.bincount(place.ravel(), weight_hw.ravel(), CHROMA_BINS**2)
    soft = np.asarray(cv2.GaussianBlur(counts.reshape(CHROMA_BINS, CHROMA_BINS), (0, 0), 1.0))
    return np.asarray(soft.ravel() / soft.sum())


def _texture(small_hwc: NDArray[np.uint8], weight_hw: NDArray[np.float64]) -> NDArray[np.float64]:
    grey = np.asarray(cv2.cvtColor(small_hwc, cv2.COLOR_RGB2GRAY), np.float64)
    down, right = np.gradient(cv2.GaussianBlur(grey, (0, 0), 1.0))
    strength = np.log2(1 + np.hypot(down, right)) / np.log2(_STRONGEST) * STRENGTHS
    turn = np.arctan2(down, right) % np.pi / np.pi * DIRECTIONS
    place = np.minimum(strength.astype(np.intp), STRENGTHS - 1) * DIRECTIONS
    place += np.minimum(turn.astype(np.intp), DIRECTIONS - 1)
    counts = np.bincount(place.ravel(), weight_hw.ravel(), STRENGTHS * DIRECTIONS)
    return np.asarray(counts / counts.sum())
