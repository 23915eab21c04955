"""How much boxes lie on each other. Legend: n and m boxes, 4 corners."""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


def shared_area(one_n4: Boxes, other_m4: Boxes) -> NDArray[np.float64]:
    """(n, m) in square pixels."""
    near = np.maximum(one_n4[:, None, :2], other_m4[None, :, :2]).astype(np.float64)
    far = np.minimum(one_n4[:, None, 2:], other_m4[None, :, 2:]).astype(np.float64)
    found: NDArray[np.float64] = np.clip(far - near, 0, None).prod(-1)
    return found


def area(boxes_n4: Boxes) -> NDArray[np.float64]:
    """(n,)"""
    sides = boxes_n4[:, 2:].astype(np.float64) - boxes_n4[:, :2]
    found: NDArray[np.float64] = np.clip(sides, 0, None).prod(-1)
    return found


def overlap(one_n4: Boxes, other_m4: Boxes) -> NDArray[np.float64]:
    """(n, m): what two boxes share, of what they cover together (IoU)."""
    shared = shared_area(one_n4, other_m4)
    union = area(one_n4)[:, None] + area(other_m4)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def inside(one_n4: Boxes, other_m4: Boxes) -> NDArray[np.float64]:
    """(n, m): which share of the first lies in the second."""
    own = area(one_n4)[:, None]
    shared = shared_area(one_n4, other_m4)
    return np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)


def kept_after_suppression(
    boxes_n4: Boxes, scores_n: NDArray[np.float32], most: float
) -> NDArray[np.intp]:
    """The rows that are left when each box silences those of lower score that share more than
    `most` with it; the highest score comes first."""
    order = np.argsort(-scores_n, kind="stable")
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        order = rest[overlap(boxes_n4[[first]], boxes_n4[rest])[0] <= most]
    return np.array(kept, np.intp)
