"""What a mean over seeds is sure of: other videos would have given another number, and so would
other seeds. Both are in the interval; the videos' part by each video's influence on the number
(for the AUC these are DeLong's placements), the seeds' part by their spread.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from heads.measuring.intervals import class_variance, influence, too_few
from heads.measuring.metrics import Floats, Labels, confusion_matrix, macro_auc

MINIMUM_SEEDS = 3
"""Fewer say nothing of how much seeds differ: no p, no interval."""
_NOTHING = 1e-12
_STEP = 1e-4
POWER = 0.8


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
    freedom: float
    why: str = ""
    """Why there is no interval."""

    @property
    def random(self) -> bool:
        """Do seeds change anything?"""
        return self.by_seeds > _NOTHING

    @property
    def error(self) -> float:
        return math.sqrt(self.by_videos + self.by_seeds)

    @property
    def half_width(self) -> float:
        """Of the 95% interval; NaN where there is none."""
        if self.why:
            return math.nan
        return float(stats.t.ppf(0.975, self.freedom)) * self.error

    @property
    def p(self) -> float:
        """That the truth is 0, two-sided; NaN where nothing can be said."""
        if self.why:
            return math.nan
        if self.error < _NOTHING:
            return 1.0 if abs(self.value) < _NOTHING else math.nan
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))

    def needed(self, gain: float) -> int | None:
        """Judged videos with which such a gain is found in 80 of 100 ablations; None: with these
        seeds never, give more of them."""
        quantiles = stats.norm.ppf(0.975) + stats.norm.ppf(POWER)
        room = (gain / float(quantiles)) ** 2 - self.by_seeds
        return None if room <= 0 else math.ceil(self.videos * self.by_videos / room)


def spread(metric: str, runs: Sequence[Floats], labels: Labels, classes: Sequence[str]) -> Spread:
    """`runs` are one seed's probabilities each, about the same videos."""
    value, part = _NUMBERS[metric]
    return _spread(
        [value(p, labels) for p in runs], [part(p, labels) for p in runs], labels, classes
    )


def difference(
    metric: str, runs: Sequence[Floats], others: Sequence[Floats], labels: Labels,
    classes: Sequence[str],
) -> Spread:  # fmt: skip
    """`runs` minus `others`, seed by seed."""
    value, part = _NUMBERS[metric]
    pairs = list(zip(runs, others, strict=True))
    values = [value(a, labels) - value(b, labels) for a, b in pairs]
    parts = [part(a, labels) - part(b, labels) for a, b in pairs]
    return _spread(values, parts, labels, classes)


def _spread(
    values: Sequence[float], parts: Sequence[Floats], labels: Labels, classes: Sequence[str]
) -> Spread:
    seeds, videos = len(values), len(labels)
    by_seeds = float(np.var(values, ddof=1)) / seeds if seeds > 1 else 0.0
    present = np.unique(labels)
    why = too_few(np.searchsorted(present, labels), [classes[c] for c in present])
    if not why and seeds < MINIMUM_SEEDS:
        why = f"{seeds} seeds; {MINIMUM_SEEDS} or more are needed"
    by_videos = float(class_variance(np.mean(parts, 0), labels).sum()) if videos else 0.0
    # Satterthwaite: few seeds weigh as heavily as their share of the variance.
    total, few = by_videos + by_seeds, by_seeds**2 / max(seeds - 1, 1)
    freedom = total**2 / max(few + by_videos**2 / max(videos - len(present), 1), _NOTHING**2)
    return Spread(
        value=float(np.mean(values)), videos=videos, seeds=seeds, by_videos=by_videos,
        by_seeds=by_seeds, freedom=max(freedom, 1.0), why=why,
    )  # fmt: skip


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
