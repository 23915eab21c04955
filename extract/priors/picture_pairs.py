"""Pairs of adjacent frames as networks get them: small pictures on squares of one size.

The picture keeps its proportions and lies at the top left; the fourth channel is 255 where it is,
so that the device can take it out again. Made in the decode workers, without torch.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from extract.decoding.job import Output
from extract.priors.flow import frame_pairs, shrunk
from extract.views.transforms import Frames
from extract.views.view import View

SIDES = (64, 128, 256, 384, 512)
CHANNELS = 4


def pictures(frames: Frames, views: Sequence[View], side: int) -> NDArray[np.uint8]:
    """Squares (V, pairs, 2, side, side, 4) of each view; smaller frames are not enlarged."""
    squares = np.zeros((len(views), len(views[0].frames) // 2, 2, side, side, CHANNELS), np.uint8)
    for row, view in enumerate(views):
        small = {number: shrunk(frames[number], side) for number in dict.fromkeys(view.frames)}
        for pair, numbers in enumerate(frame_pairs(view)):
            for place, number in enumerate(numbers):
                height, width = small[number].shape[:2]
                squares[row, pair, place, :height, :width, :3] = small[number]
                squares[row, pair, place, :height, :width, 3] = 255
    return squares


pictures_64 = partial(pictures, side=64)
pictures_128 = partial(pictures, side=128)
pictures_256 = partial(pictures, side=256)
pictures_384 = partial(pictures, side=384)
pictures_512 = partial(pictures, side=512)


def picture_output(pairs: int, side: int) -> Output:
    """What a worker makes for a scorer that takes pictures of this size."""
    return Output(
        name=f"pictures_{side}",
        function=f"{__name__}:pictures_{side}",
        shape=(pairs, 2, side, side, CHANNELS),
        dtype="uint8",
        pairs=pairs,
    )
