"""OpenCV's bilinear `warpAffine` on bytes with black outside, written out for both major versions.

OpenCV 5 computes otherwise than OpenCV 4 (levels differ by up to 4), and AltFreezing's published
numbers are OpenCV 4's: so both rules stand here, and results do not depend on what is installed.
`opencv4` is equal to it to the bit; `opencv5` is off by one level in about 1 of 10,000 values.
Legend: t frames, h height, w width, c colour; s the side of the result.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["opencv4", "opencv5"]
RULES: tuple[Rule, ...] = ("opencv4", "opencv5")
_SCALE_BITS, _FRACTION_BITS = 10, 5
_FRACTIONS = 1 << _FRACTION_BITS

Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any], NDArray[Any]]
"""Whole column and row of each pixel's upper left neighbour, and how far beyond it the pixel is."""


def warped(
    frames_thwc: NDArray[np.uint8], matrix_23: NDArray[np.float64], side: int, rule: Rule
) -> NDArray[np.uint8]:
    """(t, s, s, c): every frame under the matrix, which leads from a frame to the result."""
    back = inverse(matrix_23)
    return (
        _by_bits(frames_thwc, back, side) if rule == "opencv4" else _plain(frames_thwc, back, side)
    )


def inverse(matrix_23: NDArray[np.float64]) -> NDArray[np.float64]:
    """In OpenCV's order of operations."""
    (a, b, c), (d, e, f) = matrix_23
    determinant = a * e - b * d
    share = 1 / determinant if determinant != 0 else 0.0
    a, b, d, e = e * share, -b * share, -d * share, a * share
    return np.array([[a, b, -a * c - b * f], [d, e, -d * c - e * f]])


def _by_bits(
    frames_thwc: NDArray[np.uint8], back: NDArray[np.float64], side: int
) -> NDArray[np.uint8]:
    """OpenCV 4: places to 1/32 of a pixel, in whole numbers throughout."""
    scale, steps = 1 << _SCALE_BITS, np.arange(side)
    half = scale // _FRACTIONS // 2

    def places(row: NDArray[np.float64]) -> NDArray[np.int64]:
        across = np.rint(row[0] * steps * scale).astype(np.int64)
        down = np.rint((row[1] * steps + row[2]) * scale).astype(np.int64) + half
        found: NDArray[np.int64] = (down[:, None] + across) >> (_SCALE_BITS - _FRACTION_BITS)
        return found

    x_ss, y_ss = places(back[0]), places(back[1])
    taps = (x_ss >> _FRACTION_BITS, y_ss >> _FRACTION_BITS, x_ss % _FRACTIONS, y_ss % _FRACTIONS)
    total = _weighted(frames_thwc, taps, _FRACTIONS, np.int32)
    return np.asarray((total * _FRACTIONS + (1 << 14)) >> 15, np.uint8)


def _plain(
    frames_thwc: NDArray[np.uint8], back: NDArray[np.float64], side: int
) -> NDArray[np.uint8]:
    """OpenCV 5: single precision."""
    row, steps = back.astype(np.float32), np.arange(side, dtype=np.float32)
    x_ss = steps * row[0, 0] + (steps[:, None] * row[0, 1] + row[0, 2])
    y_ss = steps * row[1, 0] + (steps[:, None] * row[1, 1] + row[1, 2])
    left_ss, top_ss = np.floor(x_ss), np.floor(y_ss)
    whole = left_ss.astype(np.int64), top_ss.astype(np.int64)
    total = _weighted(frames_thwc, (*whole, x_ss - left_ss, y_ss - top_ss), 1, np.float32)
    return np.asarray(np.rint(total), np.uint8)


def _weighted(
    frames_thwc: NDArray[np.uint8], taps: Taps, one: int, kind: type[np.generic]
) -> NDArray[Any]:
    """The sum over four neighbours; `one` is the distance between two pixels."""
    count, height, width, colours = frames_thwc.shape
    left_ss, top_ss, right_of_ss, below_ss = taps
    framed = np.zeros((height + 2, width + 2, count, colours), np.uint8)  # black outside
    framed[1:-1, 1:-1] = frames_thwc.transpose(1, 2, 0, 3)
    pixels_nd = framed.reshape(-1, count * colours)
    side = len(left_ss)
    total_nd: NDArray[Any] = np.zeros((side * side, count * colours), kind)
    for dy in (0, 1):
        row_ss = np.clip(top_ss + dy, -1, height) + 1
        for dx in (0, 1):
            column_ss = np.clip(left_ss + dx, -1, width) + 1
            weight_ss = (right_of_ss if dx else one - right_of_ss) * (
                below_ss if dy else one - below_ss
            )
            chosen_nd = pixels_nd[(row_ss * (width + 2) + column_ss).reshape(-1)]
            total_nd += chosen_nd * weight_ss.reshape(-1, 1).astype(kind)
    return total_nd.reshape(side, side, count, colours).transpose(2, 0, 1, 3)
