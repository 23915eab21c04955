"""Aligned pictures of one face over some frames, as AltFreezing makes them.

Around each box half its size is added on every side; the crops are laid on one black canvas that
holds them all; one similarity brings the five points of all frames together to fixed places. So a
face moves in its window as it moved in the video. The similarity is the best in pixels of the
video, not of the result. It may mirror: as released, a face far narrower than the template (below
about 0.27 of it) comes out as its mirror image.
Legend: t frames, h height, w width, c colour, n points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.people.detections import Points, Quad
from extract.people.warping import Rule, warped

Picture = NDArray[np.uint8]
Corners = tuple[int, int, int, int]
"""Left, top, right and bottom; the last two are outside."""

TEMPLATE_SIZE = 256
TEMPLATE: Points = (
    (85.82991, 85.7792),
    (169.0532, 84.3381),
    (127.574, 137.0006),
    (90.6964, 174.7014),
    (167.3069, 173.3733),
)
"""Where eyes, nose and corners of the mouth come to lie in a picture of 256 pixels."""
_AROUND = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crop:
    """What is kept of a frame for aligning a face: the pixels around it, and its points."""

    corners: Corners
    pixels_hwc: Picture
    points: Points
    """In the frame."""


def crop_corners(box: Quad, height: int, width: int) -> Corners:
    """Pixels around a box, inside of a frame; its last row and column are never used."""
    left, top, right, bottom = (float(np.rint(corner)) for corner in box)
    across, down = (right - left) * _AROUND, (bottom - top) * _AROUND
    xs = [min(max(x, 0.0), width - 1.0) for x in (left - across, right + across)]
    ys = [min(max(y, 0.0), height - 1.0) for y in (top - down, bottom + down)]
    near_x, far_x, near_y, far_y = (int(np.rint(number)) for number in (*xs, *ys))
    return near_x, near_y, far_x, far_y


def cropped(frame_hwc: Picture, box: Quad, points: Points) -> Crop:
    left, top, right, bottom = corners = crop_corners(box, *frame_hwc.shape[:2])
    return Crop(corners=corners, pixels_hwc=frame_hwc[top:bottom, left:right], points=points)


def aligned(
    crops: Sequence[Crop], size: int, rule: Rule, targets_tn2: NDArray[np.float64] | None = None
) -> Picture:
    """(t, size, size, c). `targets_tn2`: other places for the points than the template's."""
    left, top, right, bottom = canvas_corners(crops)
    canvas_thwc = np.zeros((len(crops), bottom - top, right - left, 3), np.uint8)
    for canvas_hwc, crop in zip(canvas_thwc, crops, strict=True):
        x, y = crop.corners[0] - left, crop.corners[1] - top
        height, width = crop.pixels_hwc.shape[:2]
        canvas_hwc[y : y + height, x : x + width] = crop.pixels_hwc
    return warped(canvas_thwc, window_similarity(crops, size, targets_tn2), size, rule)


def canvas_corners(crops: Sequence[Crop]) -> Corners:
    """Of the canvas that holds all crops."""
    corners = [crop.corners for crop in crops]
    left, top = (min(each[side] for each in corners) for side in (0, 1))
    right, bottom = (max(each[side] for each in corners) for side in (2, 3))
    return left, top, right, bottom


def window_similarity(
    crops: Sequence[Crop], size: int, targets_tn2: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """The matrix (2, 3) that takes the canvas to the aligned picture."""
    corner = np.array(canvas_corners(crops)[:2], np.float64)
    points_n2 = np.concatenate([np.array(crop.points, np.float64) for crop in crops]) - corner
    if targets_tn2 is None:
        template_n2 = np.array(TEMPLATE) * (size / TEMPLATE_SIZE)
        targets_tn2 = np.repeat(template_n2[None], len(crops), 0)
    return similarity(points_n2, targets_tn2.reshape(-1, 2))


def similarity(from_n2: NDArray[np.float64], to_n2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn, scale, shift, and mirror where that seems to fit better: the matrix (2, 3).

    Whether to mirror is decided by the distance to x-mirrored targets, as released.
    """
    mirror = np.diag([-1.0, 1.0, 1.0])
    mirrored_n2 = to_n2 * (-1.0, 1.0)
    plain = np.linalg.inv(_backward(from_n2, to_n2))
    reflected = mirror @ np.linalg.inv(_backward(from_n2, mirrored_n2))
    places_n3 = np.column_stack([from_n2, np.ones(len(from_n2))])
    far = [
        float(np.linalg.norm((places_n3 @ found.T)[:, :2] - mirrored_n2))
        for found in (plain, reflected)
    ]
    return np.asarray((plain if far[0] <= far[1] else reflected)[:2], np.float64)


def _backward(from_n2: NDArray[np.float64], to_n2: NDArray[np.float64]) -> NDArray[np.float64]:
    """The similarity (3, 3) from targets back to points, least squares in the points' pixels."""
    x_n, y_n = to_n2.T
    ones_n, zeros_n = np.ones(len(to_n2)), np.zeros(len(to_n2))
    equations = np.vstack(
        [
            np.column_stack([x_n, y_n, ones_n, zeros_n]),
            np.column_stack([y_n, -x_n, zeros_n, ones_n]),
        ]
    )
    cosine, sine, right, down = np.linalg.lstsq(equations, from_n2.T.reshape(-1), rcond=-1)[0]
    return np.array([[cosine, sine, right], [-sine, cosine, down], [0, 0, 1]])
