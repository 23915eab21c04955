"""Boxes that a network scored against the names of persons, faces and hands, as detections."""

import numpy as np
from numpy.typing import NDArray

from extract.people.detections import KINDS, Found
from extract.people.overlap import kept_after_suppression

OVERLAP = 0.7
"""Of two boxes of one name that overlap by more, the surer one is kept: the networks that look for
names do not see to that themselves."""


def named_boxes(
    boxes_n4: NDArray[np.float32],
    scores_nk: NDArray[np.float32],
    threshold: float,
    size: tuple[int, int],
    frame: int,
) -> list[Found]:
    """Each box under the name that fits it best, cut to a frame of this width and height; k are
    KINDS."""
    boxes_n4 = np.clip(boxes_n4, np.float32(0), np.array([*size, *size], np.float32))
    labels_n = scores_nk.argmax(1)
    found = []
    for label, kind in enumerate(KINDS):
        own = np.flatnonzero((labels_n == label) & (scores_nk[:, label] > threshold))
        scores = scores_nk[own, label]
        for row in own[kept_after_suppression(boxes_n4[own], scores, OVERLAP)]:
            left, top, right, bottom = map(float, boxes_n4[row])
            box = (left, top, right, bottom)
            score = float(scores_nk[row, label])
            found.append(Found(frame=frame, kind=kind, box=box, score=score))
    return found


def corners(boxes_n4: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Centres and sizes in shares of a width and a height → corners in pixels."""
    centre, size = boxes_n4[:, :2], boxes_n4[:, 2:]
    whole = np.concatenate([centre - size / 2, centre + size / 2], 1)
    return np.asarray(whole * np.array([width, height] * 2, np.float32), np.float32)
