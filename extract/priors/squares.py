"""Frames → squares of 224 pixels, as CLIP's official preprocessing makes them.

The short side is made 224 by Pillow's antialiased bicubic, and the middle is cut out. VBench feeds
CLIP so, and DINO with the whole frame, bilinear; here both networks get the one square. A worker
calls this: no torch. Legend: h height, w width, c colour.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extract.priors.flow import frame_pairs
from extract.views.transforms import Frames, allowed_size, take_crop
from extract.views.view import Crop, View

SIDE = 224


def squares(frames: Frames, views: Sequence[View]) -> NDArray[np.uint8]:
    """(V, pairs + 1, 224, 224, 3): the first frame of each pair, and the second of the last."""
    return np.stack([_view_squares(frames, view) for view in views])


def _view_squares(frames: Frames, view: View) -> NDArray[np.uint8]:
    pairs = frame_pairs(view)
    numbers = [*(first for first, _ in pairs), pairs[-1][1]]
    made = {number: square(frames[number]) for number in dict.fromkeys(numbers)}
    return np.stack([made[number] for number in numbers])


def square(frame_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = allowed_size(frame_hwc.shape[0], frame_hwc.shape[1], SIDE)
    resized = Image.fromarray(frame_hwc).resize((width, height), Image.Resampling.BICUBIC)
    return take_crop(np.asarray(resized), Crop(kind="center"), SIDE)
