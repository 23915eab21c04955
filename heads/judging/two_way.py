"""What a mean over seeds is sure of: other videos would have given another number, and so would
other seeds. Both are in the interval.

The videos' part is a score interval (see `measuring.intervals`), so that a perfect number is not
certain; its variance comes from each video's influence on the number (for the AUC these are
DeLong's placements). The seeds' part is their spread, less what videos and seeds do together, which
the videos' part has already; few seeds weigh by Student's t. A difference has what is each row's
own, and not what the rows share.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from heads.measuring.intervals import (
    Z,
    auc_bounds,
    class_influence,
    class_variance,
    influence,
    mean_count,
    share_bounds,
    too_few,
)
from heads.measuring.metrics import Floats, Labels, confusion_matrix, macro_auc
from heads.measuring.tests import Room, apart, correlation

MINIMUM_SEEDS = 3
"""Fewer say nothing of how much seeds differ: no p, no interval."""
MOST_SEEDS = 30
POWER = 0.8
_NOTHING = 1e-12
_MANY = 1e6
"""Degrees of freedom: Student's t is a normal one."""
_STEP = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A number over seeds and videos: a mean, or the mean of differences."""

    value: float
    videos: int
    seeds: int
    by_videos: float
    """Variance that other videos would make."""
    by_seeds: float
    """Variance that other seeds would make."""
    room: Room
    """One standard error that other videos would make, downwards and upwards."""
    least: float
    """What the number cannot be below: 0, or -1 of a difference."""
    why: str = ""
    """Why there is no interval."""

    def text(self, sign: str = "") -> str:
        """In percent, with its interval where there is one; `sign` as in a format."""
        said = "-" if math.isnan(self.value) else f"{100 * self.value:{sign}.1f}"
        return (
            said
            if self.why
            else f"{said} [{100 * self.low:{sign}.1f}, {100 * self.high:{sign}.1f}]"
        )

    @property
    def low(self) -> float:
        """Of the 95% interval; NaN where there is none."""
        return self._end(-self.room.below)

    @property
    def high(self) -> float:
        return self._end(self.room.above)

    @property
    def p(self) -> float:
        """That the truth is 0, two-sided: the level at which the interval ends there. NaN where
        nothing can be said."""
        if self.why:
            return math.nan
        error = math.hypot(self.room.below if self.value > 0 else self.room.above, self._seeds)
        if error < _NOTHING:
            return 1.0 if abs(self.value) < _NOTHING else math.nan
        return float(2 * stats.t.sf(abs(self.value) / error, self._freedom))

    @property
    def _seeds(self) -> float:
        return math.sqrt(self.by_seeds)

    @property
    def _freedom(self) -> float:
        return freedom(sum(self.room) ** 2 / 4, self.by_seeds, self.seeds)

    def _end(self, room: float) -> float:
        if self.why:
            return math.nan
        half = float(stats.t.ppf(0.975, self._freedom)) * math.hypot(room, self._seeds)
        return min(1.0, max(self.least, self.value + math.copysign(half, room)))

    def needed(self, gain: float) -> "Need | None":
        """With what such a gain is found in 80 of 100 ablations, with as many seeds as here where
        they can do; None: with no reasonable number of seeds, or where nothing can be said."""
        if math.isnan(self.by_videos) or math.isnan(self.by_seeds):
            return None
        own = max(self.seeds, MINIMUM_SEEDS)
        more = (self._with(seeds, gain) for seeds in range(own + 1, MOST_SEEDS + 1))
        cheapest = min(
            (one for one in more if one), key=lambda one: one.seeds * one.videos, default=None
        )
        return self._with(own, gain) or cheapest

    def _with(self, seeds: int, gain: float) -> "Need | None":
        """The videos that it takes with so many seeds; None: these are too few."""
        by_videos = _affordable(gain, self.by_seeds * self.seeds / seeds, seeds)
        if by_videos is None:
            return None
        return Need(seeds=seeds, videos=math.ceil(self.videos * self.by_videos / by_videos))


class Need(NamedTuple):
    """What an ablation takes."""

    seeds: int
    videos: int


def freedom(by_videos: float, by_seeds: float, seeds: int) -> float:
    """Satterthwaite's: few seeds weigh as heavily as their share of the variance."""
    if not by_seeds:
        return _MANY
    return min(_MANY, (by_videos + by_seeds) ** 2 / by_seeds**2 * (seeds - 1))


def _affordable(gain: float, by_seeds: float, seeds: int) -> float | None:
    """The variance over videos at which a gain is found so often; None: not even with none."""

    def lacking(by_videos: float) -> float:
        found = stats.t.isf(0.025, freedom(by_videos, by_seeds, seeds)) + stats.norm.ppf(POWER)
        return float(found) * math.sqrt(by_videos + by_seeds) - gain

    return None if lacking(0.0) >= 0 else float(brentq(lacking, 0.0, gain**2))


def spread(metric: str, runs: Sequence[Floats], labels: Labels, classes: Sequence[str]) -> Spread:
    """`runs` are one seed's probabilities each, about the same videos."""
    values, parts = _told(metric, runs, labels)
    room = _room(metric, values, runs, parts, labels)
    return _spread(values, parts, room, labels, classes, least=0.0)


def difference(
    metric: str, runs: Sequence[Floats], others: Sequence[Floats], labels: Labels,
    classes: Sequence[str],
) -> Spread:  # fmt: skip
    """`runs` minus `others`, seed by seed."""
    (values, parts), (before, were) = (_told(metric, each, labels) for each in (runs, others))
    own, other = np.mean(parts, 0), np.mean(were, 0)
    room = apart(
        _room(metric, values, runs, parts, labels), _room(metric, before, others, were, labels),
        correlation(own, other, labels),
    )  # fmt: skip
    gains = [a - b for a, b in zip(values, before, strict=True)]
    changes = [a - b for a, b in zip(parts, were, strict=True)]
    return _spread(gains, changes, room, labels, classes, least=-1.0)


def _told(metric: str, runs: Sequence[Floats], labels: Labels) -> tuple[list[float], list[Floats]]:
    """Each seed's number, and the influence of each video on it."""
    value, part = _NUMBERS[metric]
    return [value(p, labels) for p in runs], [part(p, labels) for p in runs]


def _room(
    metric: str, values: Sequence[float], runs: Sequence[Floats], parts: Sequence[Floats],
    labels: Labels,
) -> Room:  # fmt: skip
    value, counts = float(np.mean(values)), np.unique(labels, return_counts=True)[1]
    if math.isnan(value) or counts.min() < 2:
        return Room(math.nan, math.nan)
    if metric == "auc":
        by_class = np.mean([class_influence(run, labels) for run in runs], 0)
        low, high = auc_bounds(value, by_class, labels)
    else:
        assumed = len(labels) if metric == "accuracy" else mean_count(counts)
        low, high = share_bounds(value, _variance(np.mean(parts, 0), labels), assumed, counts)
    return Room((value - low) / Z, (high - value) / Z)


def _spread(
    values: Sequence[float],
    parts: Sequence[Floats],
    room: Room,
    labels: Labels,
    classes: Sequence[str],
    *,
    least: float,
) -> Spread:
    seeds, videos = len(values), len(labels)
    present = np.unique(labels)
    why = too_few(np.searchsorted(present, labels), [classes[c] for c in present])
    if not why and seeds < MINIMUM_SEEDS:
        why = f"{seeds} seeds; {MINIMUM_SEEDS} or more are needed"
    if math.isnan(values[0]):
        absent = [name for c, name in enumerate(classes) if c not in present]
        why = f"not defined, no video is {', '.join(absent)}"
    mean = np.mean(parts, 0)
    by_videos, by_seeds = _variance(mean, labels), 0.0
    if seeds > 1:
        both = sum(_variance(part - mean, labels) for part in parts) / (seeds - 1)
        by_seeds = max(float(np.var(values, ddof=1)) - both, 0.0) / seeds
    return Spread(
        value=float(np.mean(values)), videos=videos, seeds=seeds, by_videos=by_videos,
        by_seeds=by_seeds, room=room, least=least, why=why,
    )  # fmt: skip


def _variance(parts: Floats, labels: Labels) -> float:
    return float(class_variance(parts, labels).sum()) if len(labels) else 0.0


def _accuracy(probabilities: Floats, labels: Labels) -> float:
    return float((probabilities.argmax(1) == labels).mean())


def _accuracy_parts(probabilities: Floats, labels: Labels) -> Floats:
    return np.asarray((probabilities.argmax(1) == labels) / len(labels))


def _f1(probabilities: Floats, labels: Labels) -> float:
    matrix = confusion_matrix(labels, probabilities.argmax(1), probabilities.shape[1])
    return _f1_of(matrix.astype(float))


def _f1_of(matrix: NDArray[np.float64]) -> float:
    seen = matrix.sum(0) + matrix.sum(1)
    return float((2 * np.diag(matrix)[seen > 0] / seen[seen > 0]).mean())


def _f1_parts(probabilities: Floats, labels: Labels) -> Floats:
    """How the macro F1 moves with one video more of each kind, by its slope."""
    said, classes = probabilities.argmax(1), probabilities.shape[1]
    matrix = confusion_matrix(labels, said, classes).astype(float)
    before, slope = _f1_of(matrix), np.zeros((classes, classes))
    for cell in zip(*np.nonzero(matrix), strict=True):
        moved = matrix.copy()
        moved[cell] += _STEP
        slope[cell] = (_f1_of(moved) - before) / _STEP
    return np.asarray(slope[labels, said])


_Value = Callable[[Floats, Labels], float]
_Parts = Callable[[Floats, Labels], Floats]
_NUMBERS: dict[str, tuple[_Value, _Parts]] = {
    "accuracy": (_accuracy, _accuracy_parts),
    "auc": (macro_auc, influence),
    "f1": (_f1, _f1_parts),
}
METRICS = tuple(_NUMBERS)


def value_of(metric: str, probabilities: Floats, labels: Labels) -> float:
    """One seed's number."""
    return _NUMBERS[metric][0](probabilities, labels)
