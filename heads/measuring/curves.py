"""What a score can do at each threshold: points of ROC and precision-recall curves, and the numbers
read off them. Ties are taken together everywhere.

The numbers come as functions of the scores of what is not to be found and of what is, along an
axis, so that thousands of draws are one call. Higher scores say "found".
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from heads.measuring.intervals import Interval, absent, wilson
from heads.measuring.metrics import Floats

FALSE_ALARMS = (0.01, 0.001)
"""Shares of reals that may be taken for generated, at which finding is measured."""
NEEDED = 3
"""Reals must be so many times 1 / share: with none of n above it, the share may still be 3 / n."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points to draw, left to right."""

    x: Floats
    y: Floats


def roc(scores: Floats, positive: NDArray[np.bool_]) -> Curve:
    """False alarms against found; a tie is one slanted line."""
    from sklearn.metrics import roc_curve  # a second to import

    x, y, _ = roc_curve(positive, scores)
    return Curve(x=x, y=y)


def precision_recall(scores: Floats, positive: NDArray[np.bool_]) -> Curve:
    """Found against how many of those said to be are."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(positive, scores)
    return Curve(x=recall[::-1], y=precision[::-1])


def average_precision(rest: Floats, hits: Floats, axis: int = -1) -> Floats:
    """Mean precision at each hit."""
    found, wrong, end = _steps(rest, hits, axis)
    count = hits.shape[axis]
    precision = np.take_along_axis(found / (found + wrong), end, -1)
    is_hit = np.diff(found, axis=-1, prepend=0)
    return np.asarray((precision * is_hit).sum(-1) / count)


def equal_error_rate(rest: Floats, hits: Floats, axis: int = -1) -> Floats:
    """Where as large a share is missed as is a false alarm; straight lines between thresholds."""
    found, wrong, end = _steps(rest, hits, axis)
    missed = 1 - np.take_along_axis(found, end, -1) / hits.shape[axis]
    alarms = np.take_along_axis(wrong, end, -1) / rest.shape[axis]
    start = np.zeros((*missed.shape[:-1], 1))
    missed = np.concatenate([start + 1, missed], -1)
    alarms = np.concatenate([start, alarms], -1)
    after = (missed <= alarms).argmax(-1)[..., None]
    before = after - 1  # the end of the ties before it
    a, b = (np.take_along_axis(missed - alarms, i, -1)[..., 0] for i in (before, after))
    low, high = (np.take_along_axis(alarms, i, -1)[..., 0] for i in (before, after))
    share = np.divide(a, a - b, out=np.zeros_like(a), where=a != b)
    return np.asarray(low + share * (high - low))


def found_at(rest: Floats, hits: Floats, *, share: float) -> Interval:
    """Share of `hits` above a threshold that at most this share of `rest` is above.

    The threshold is itself uncertain: it may be any order statistic of `rest` that a binomial
    count allows. What that does to the share found, and Wilson's interval, are added in squares.
    """
    n, needed = len(rest) + len(hits), math.ceil(NEEDED / share)
    if len(rest) < needed:
        return absent(math.nan, n, f"too few reals to say, {len(rest):,} of {needed:,}")
    if not len(hits):
        return absent(math.nan, n, "no generated video")
    ordered = np.sort(rest)[::-1]
    allowed = math.floor(share * len(rest) + 1e-9)
    fewest, most = (int(stats.binom.ppf(q, len(rest), share)) for q in (0.025, 0.975))
    count, low, high = (int((hits > ordered[k]).sum()) for k in (allowed, fewest, most))
    found = wilson(count, len(hits))
    value, moved = found.value, (low / len(hits), high / len(hits))
    return replace(
        found, n=n, method="Wilson and order statistics",
        low=max(0.0, value - math.hypot(value - found.low, value - moved[0])),
        high=min(1.0, value + math.hypot(found.high - value, moved[1] - value)),
    )  # fmt: skip


def _steps(rest: Floats, hits: Floats, axis: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """From the highest score down: how many hits and how many of the rest are at or above, and for
    each place the last one of equal score."""
    rest, hits = np.moveaxis(rest, axis, -1), np.moveaxis(hits, axis, -1)
    shape = np.broadcast_shapes(rest.shape[:-1], hits.shape[:-1])
    rest = np.broadcast_to(rest, (*shape, rest.shape[-1]))
    hits = np.broadcast_to(hits, (*shape, hits.shape[-1]))
    scores = np.concatenate([rest, hits], -1)
    order = np.argsort(-scores, axis=-1, kind="stable")
    scores = np.take_along_axis(scores, order, -1)
    is_hit = order >= rest.shape[-1]
    count = scores.shape[-1]
    last = np.ones(scores.shape, bool)
    last[..., :-1] = scores[..., 1:] != scores[..., :-1]
    place = np.where(last, np.arange(count), count)
    end = np.minimum.accumulate(place[..., ::-1], -1)[..., ::-1]
    return is_hit.cumsum(-1).astype(float), (~is_hit).cumsum(-1).astype(float), end
