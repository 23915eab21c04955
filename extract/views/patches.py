"""A frame's flattest and busiest places, each put together to a picture: what PatchCraft looks at.

Many crops of 32 x 32 are drawn, with overlaps, and sorted by how much neighbouring pixels differ.
The flattest third fills a square row by row, the busiest third, busiest first, another; they come
one above the other. Where crops are drawn follows from the frame's size and its number in the
video, as the released test draws from a seed: damage to a video, or another run, moves no crop.
Legend: h height, w width, c colour, n crops.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extract.views.looks import Picture, rows_of
from extract.views.transforms import Frames
from extract.views.view import View

SIDE = 32
SEED = 42
"""Of the frame with number 0."""
SMASH = "extract.views.patches:smash"
"""What a decode worker calls."""
_WORD = 2**32


def smash(frames: Frames, views: Sequence[View], *, grid: int, seed: int) -> NDArray[np.uint8]:
    """As `look_at`: rows of pictures of 2·32·grid x 32·grid, the flattest above the busiest."""
    size = 1 + 2 * (SIDE * grid) ** 2 * 3
    return rows_of(frames, views, size, lambda frame, number: smashed(frame, seed + number, grid))


def smashed(frame_hwc: Picture, seed: int, grid: int) -> Picture:
    """One frame: `grid` crops a side, out of three times as many."""
    if min(frame_hwc.shape[:2]) < SIDE:
        frame_hwc = squashed(frame_hwc)
    count = grid**2
    height, width = frame_hwc.shape[:2]
    crops_nhwc = cut_out(frame_hwc, corners(height, width, 3 * count, seed))
    order = np.argsort(texture(crops_nhwc), kind="stable")
    chosen = np.concatenate([order[:count], order[::-1][:count]])
    rows = crops_nhwc[chosen].reshape(2 * grid, grid, SIDE, SIDE, 3)
    both: Picture = rows.swapaxes(1, 2).reshape(2 * grid * SIDE, grid * SIDE, 3)
    return both


def squashed(frame_hwc: Picture) -> Picture:
    """A frame that is too small for a crop, made as large as one."""
    whole = Image.fromarray(np.ascontiguousarray(frame_hwc))
    return np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def corners(height: int, width: int, count: int, seed: int) -> NDArray[np.int64]:
    """(n, 2): top and left, the very numbers that torch draws after `manual_seed`."""
    if height == width == SIDE:
        return np.zeros((count, 2), np.int64)
    words = np.random.MT19937()
    words.state = {"bit_generator": "MT19937", "state": {"key": _key(seed), "pos": 624}}
    drawn = words.random_raw(2 * count).reshape(count, 2)
    return (drawn % np.array([height - SIDE + 1, width - SIDE + 1], np.uint64)).astype(np.int64)


def cut_out(frame_hwc: Picture, corners_n2: NDArray[np.int64]) -> Picture:
    """(n, h, w, c)."""
    windows = np.lib.stride_tricks.sliding_window_view(frame_hwc, (SIDE, SIDE), axis=(0, 1))
    return windows[corners_n2[:, 0], corners_n2[:, 1]].transpose(0, 2, 3, 1)


def texture(crops_nhwc: Picture) -> NDArray[np.int64]:
    """(n): how much grey levels differ from those below, to the right and on both diagonals."""
    x = crops_nhwc.astype(np.int16)
    pairs = (
        (x[:, :-1], x[:, 1:]),
        (x[:, :, :-1], x[:, :, 1:]),
        (x[:, :-1, :-1], x[:, 1:, 1:]),
        (x[:, 1:, :-1], x[:, :-1, 1:]),
    )
    sums = [np.abs(a - b).sum((1, 2, 3), dtype=np.int64) for a, b in pairs]
    return np.asarray(np.sum(sums, axis=0), np.int64)


def _key(seed: int) -> NDArray[np.uint32]:
    """The Mersenne twister's state after its authors' `init_genrand`."""
    state = [seed % _WORD]
    for place in range(1, 624):
        last = state[-1]
        state.append((1812433253 * (last ^ (last >> 30)) + place) % _WORD)
    return np.array(state, np.uint32)
