"""A 64-bit look at a frame, by which two copies of a video are known whatever their encoding.

The difference hash: grey, 9 x 8 pixels, one bit for each pair of neighbours that says whether it
gets darker to the right. Re-encoding and resizing change a few bits, another picture half of them.
A frame with nothing in it has no hash (0). Taken from the frames that views need anyway.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.views.view import View
from features_store.frame_hashes import FRAMES

_WIDTH, _HEIGHT = 9, 8
_FLAT = 2.0
"""Grey levels of spread below which the signs of differences are noise."""


def video_hashes(frames: Mapping[int, NDArray[np.uint8]], views: Sequence[View]) -> tuple[int, ...]:
    """Of some frames of the first view, evenly through it. Copies of one video are looked at at the
    same places, except under training protocols, whose frames are random."""
    numbers = views[0].frames
    places = np.linspace(0, len(numbers) - 1, FRAMES).round().astype(int)
    return tuple(frame_hash(frames[numbers[place]]) for place in places)


def frame_hash(frame_hwc: NDArray[np.uint8]) -> int:
    """Signed, as a store keeps whole numbers."""
    grey = cv2.cvtColor(frame_hwc, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.int16)
    if small.std() < _FLAT:
        return 0
    bits = np.packbits(small[:, 1:] < small[:, :-1])
    return int(bits.view(np.int64)[0])
