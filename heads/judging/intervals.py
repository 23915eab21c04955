"""Intervals and paired tests by drawing videos again, with replacement.

Seeded, so the same predictions give the same interval.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heads.judging.metrics import Floats, Labels, macro_auc

DRAWS = 1000
Statistic = Callable[[Floats, Labels], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number and where it lies in 95% of the draws."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def accuracy(probabilities: Floats, labels: Labels) -> float:
    return float((probabilities.argmax(1) == labels).mean())


STATISTICS: dict[str, Statistic] = {"accuracy": accuracy, "auc": macro_auc}


def interval(
    statistic: Statistic, probabilities: Floats, labels: Labels, seed: int = 0
) -> Interval:
    """Percentile bootstrap; NaN bounds where no draw has the number."""
    drawn = np.array(
        [statistic(probabilities[i], labels[i]) for i in draws(len(labels), seed)], np.float64
    )
    value = statistic(probabilities, labels)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn) or np.isnan(value):
        return Interval(value=value, low=float("nan"), high=float("nan"))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value=value, low=float(low), high=float(high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Second minus first on the same videos."""

    interval: Interval
    p: float
    """Two-sided: how often draws fall on the other side of zero, twice."""


def paired(
    statistic: Statistic, first: Floats, second: Floats, labels: Labels, seed: int = 0
) -> Difference:
    """Both are judged on the same draws of videos."""
    pairs = [
        statistic(second[i], labels[i]) - statistic(first[i], labels[i])
        for i in draws(len(labels), seed)
    ]
    drawn = np.array(pairs, np.float64)
    drawn = drawn[~np.isnan(drawn)]
    value = statistic(second, labels) - statistic(first, labels)
    if not len(drawn):
        empty = Interval(value=value, low=float("nan"), high=float("nan"))
        return Difference(interval=empty, p=float("nan"))
    low, high = np.quantile(drawn, [0.025, 0.975])
    other = min((drawn <= 0).mean(), (drawn >= 0).mean())
    p = min(1.0, 2 * max(float(other), 1 / (len(drawn) + 1)))
    return Difference(interval=Interval(value=value, low=float(low), high=float(high)), p=p)


def draws(count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """One at a time: all of them for a million videos would be 8 GB."""
    random = np.random.default_rng(seed)
    for _ in range(DRAWS):
        yield random.integers(0, count, count)
