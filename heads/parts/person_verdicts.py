"""From the scores of a person's parts to a verdict on the video, as VBench-2.0 has it.

A part is abnormal if its score is above the threshold of its kind, a person if any of its parts
is, and a video's score is the share of normal persons. Legend: f frames, p persons, k parts
(person, face, hand); more axes may stand before f.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Mask = NDArray[np.bool_]
RELEASED = (0.4545454545454546, 0.30303030303030304, 0.3232)
"""Thresholds of person, face and hand, as the released code has them."""


def abnormal(scores_fpk: Scores, there_fpk: Mask, thresholds: Sequence[float]) -> Mask:
    """(…, f, p): strictly above, in float64; parts that are not there say nothing."""
    above = scores_fpk.astype(np.float64) > np.asarray(thresholds, np.float64)
    return np.asarray((above & there_fpk).any(-1))


def share_of_persons(abnormal_fp: Mask, person_fp: Mask) -> NDArray[np.float64]:
    """(…): 1 - abnormal persons / persons, both counted over all frames, as released; a frame with
    more persons weighs more. NaN where nobody is."""
    counts = person_fp.sum((-2, -1))
    wrong = (abnormal_fp & person_fp).sum((-2, -1))
    return 1 - _share(wrong, counts)


def share_of_frames(abnormal_fp: Mask, person_fp: Mask) -> NDArray[np.float64]:
    """(…): the mean over frames with somebody in them of their share of normal persons, as the
    released README says. NaN where nobody is."""
    per_frame_f = 1 - _share((abnormal_fp & person_fp).sum(-1), person_fp.sum(-1))
    return _share(np.nansum(per_frame_f, -1), np.isfinite(per_frame_f).sum(-1))


def doubt(scores_fpk: Scores, there_fpk: Mask, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """(…, f, p, k): how far each part is above its threshold, in logits; 0 is at it. -inf where
    there is no part."""
    scores = np.clip(scores_fpk.astype(np.float64), 1e-12, 1 - 1e-12)
    limits = np.clip(np.asarray(thresholds, np.float64), 1e-12, 1 - 1e-12)
    apart = np.log(scores / (1 - scores)) - np.log(limits / (1 - limits))
    return np.where(there_fpk, apart, -np.inf)


def worst(scores_fpk: Scores, there_fpk: Mask, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """(…): above one half where any part is above its threshold, and the more, the farther. NaN
    where nobody is."""
    most = doubt(scores_fpk, there_fpk, thresholds).max((-3, -2, -1))
    with np.errstate(over="ignore"):
        found = 1 / (1 + np.exp(-most))
    return np.where(there_fpk.any((-3, -2, -1)), found, np.nan)


def _share(part: NDArray[np.generic], whole: NDArray[np.generic]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = np.asarray(part, np.float64) / np.asarray(whole, np.float64)
    return found
