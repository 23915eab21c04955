"""Is one head better than another on the same videos?

Accuracies by McNemar's test (mid-p; Edwards' exact beside it), areas under the ROC curve by
DeLong's, macro ones too. Anything else by drawing videos again inside each class. A share of
draws is never 0: of k draws in B it is (k + 1) / (B + 1).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from heads.measuring.intervals import (
    DRAWS,
    Interval,
    Z,
    absent,
    auc_bounds,
    class_influence,
    class_variance,
    too_few,
)
from heads.measuring.metrics import Floats, Labels, macro_auc

_NOTHING = 1e-12
_FAR = 8.0
"""Standard errors; p is 1e-15 there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Second minus first, on the same videos."""

    interval: Interval
    p: float
    """Two-sided; NaN where nothing can be said."""
    test: str

    def __str__(self) -> str:
        value = self.interval.value
        number = "-" if math.isnan(value) else f"{100 * value:+.1f}"
        sign = f"{number} {self.interval.brackets}".strip()
        why = f", no test: {self.interval.why}" if self.interval.why else ""
        said = why if math.isnan(self.p) else f", {p_text(self.p)} ({self.test})"
        return f"{sign}{said}, n = {self.interval.n:,}"

    def to_json(self) -> dict[str, object]:
        found = self.interval.to_json()
        return {
            "difference": found["value"], "low": found["low"], "high": found["high"],
            "p": None if math.isnan(self.p) else self.p, "test": self.test,
            "n": self.interval.n, "why": self.interval.why,
        }  # fmt: skip


def p_text(p: float) -> str:
    """Never 0: what is smaller than three digits say is said to be."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def permutation_p(extreme: int, draws: int) -> float:
    """Of a test by drawing: `extreme` draws were as far out as what was seen, or farther."""
    return (extreme + 1) / (draws + 1)


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> Difference:
    """Accuracies: only videos count that one got right and the other wrong."""
    n = len(first_right)
    gained, lost = (
        int((second_right & ~first_right).sum()),
        int((first_right & ~second_right).sum()),
    )
    value = (gained - lost) / n if n else math.nan
    if not n:
        return Difference(interval=absent(value, 0, "no videos"), p=math.nan, test="McNemar")
    # Bonett and Price: one more video each way keeps the interval honest for few discordant ones.
    more, less = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z * math.sqrt((more + less - (more - less) ** 2) / (n + 2))
    found = Interval(
        value=value, low=max(-1.0, more - less - half), high=min(1.0, more - less + half), n=n,
        method="Bonett-Price",
    )  # fmt: skip
    return Difference(interval=found, p=mid_p(gained, lost), test="McNemar, mid-p")


def mid_p(gained: int, lost: int) -> float:
    """McNemar's: the exact two-sided p, with half of what was seen itself."""
    total = gained + lost
    if not total:
        return 1.0
    exact = stats.binomtest(gained, total).pvalue
    return float(min(1.0, exact - stats.binom.pmf(gained, total, 0.5))) if gained != lost else 1.0


def delong(first: Floats, second: Floats, labels: Labels, names: tuple[str, ...]) -> Difference:
    """Macro AUCs of two sets of probabilities (n, C) about the same videos."""
    test, classes = "DeLong, score", range(first.shape[1])
    value = macro_auc(second, labels) - macro_auc(first, labels)
    why = too_few(labels, names)
    if why or math.isnan(value):
        return Difference(interval=absent(value, len(labels), why), p=math.nan, test=test)
    if all(np.array_equal(*(stats.rankdata(p[:, c]) for p in (first, second))) for c in classes):
        found = Interval(value=0.0, low=0.0, high=0.0, n=len(labels), method=test)
        return Difference(interval=found, p=1.0, test=test)
    areas = macro_auc(first, labels), macro_auc(second, labels)
    parts = class_influence(first, labels), class_influence(second, labels)
    shared = correlation(parts[0].sum(1), parts[1].sum(1), labels)

    def bounds(z: float) -> tuple[float, float]:
        (low, high), (bottom, top) = (
            auc_bounds(area, part, labels, z) for area, part in zip(areas, parts, strict=True)
        )
        own, others = Room(areas[1] - bottom, top - areas[1]), Room(areas[0] - low, high - areas[0])
        room = apart(own, others, shared)
        return value - room.below, value + room.above

    low, high = bounds(Z)
    found = Interval(value=value, low=low, high=high, n=len(labels), method=test)
    return Difference(interval=found, p=_p_of(bounds, value), test=test)


def correlation(first: Floats, second: Floats, labels: Labels) -> float:
    """Of two AUCs, by their influences; 0 where one of them does not vary."""
    both, one, other = (
        float(class_variance(parts, labels).sum()) for parts in (first + second, first, second)
    )
    product = math.sqrt(one * other)
    if product < _NOTHING:
        return 0.0
    return min(1.0, max(-1.0, (both - one - other) / (2 * product)))


class Room(NamedTuple):
    """How far a number may be off."""

    below: float
    above: float


def apart(own: Room, others: Room, shared: float) -> Room:
    """How far a difference may be off, when its numbers may be and have this correlation.

    Newcombe's way for what is each one's own; what they share moves both to the same side.
    """
    together = shared * ((sum(own) - sum(others)) / 2) ** 2
    below = (1 - shared) * (own.below**2 + others.above**2) + together
    above = (1 - shared) * (own.above**2 + others.below**2) + together
    return Room(math.sqrt(max(below, 0.0)), math.sqrt(max(above, 0.0)))


def _p_of(bounds: Callable[[float], tuple[float, float]], value: float) -> float:
    """The p at which the interval ends at 0, so that the two never disagree."""
    if abs(value) < _NOTHING:
        return 1.0
    end = 0 if value > 0 else 1
    if bounds(_FAR)[end] * value > 0:
        return float(2 * stats.norm.sf(_FAR))
    z = brentq(lambda z: bounds(z)[end], 0, _FAR, xtol=1e-4)
    return float(2 * stats.norm.sf(z))


def delong_binary(
    first: Floats, second: Floats, positive: NDArray[np.bool_], names: tuple[str, str]
) -> Difference:
    """AUCs of two scores for the same thing."""
    labels = positive.astype(np.int64)
    one, other = (np.stack([-scores, scores], 1) for scores in (first, second))
    return delong(one, other, labels, names)


def drawn(
    statistic: Callable[[Floats, Labels], float],
    first: Floats,
    second: Floats,
    labels: Labels,
    names: tuple[str, ...],
    seed: int = 0,
) -> Difference:
    """Any other number, by drawing the same videos for both, inside each class."""
    test = f"{DRAWS} stratified draws"
    value = statistic(second, labels) - statistic(first, labels)
    present = np.unique(labels)
    counted = np.searchsorted(present, labels)
    why = too_few(counted, [names[c] for c in present])
    if why or math.isnan(value):
        return Difference(interval=absent(value, len(labels), why), p=math.nan, test=test)
    random = np.random.default_rng(seed)
    rows = [np.flatnonzero(labels == c) for c in present]
    gains = np.empty(DRAWS)
    for draw in range(DRAWS):
        picked = np.concatenate([random.choice(row, len(row)) for row in rows])
        gains[draw] = statistic(second[picked], labels[picked]) - statistic(
            first[picked], labels[picked]
        )
    low, high = np.quantile(gains, [0.025, 0.975])
    other = min(int((gains <= 0).sum()), int((gains >= 0).sum()))
    found = Interval(value=value, low=float(low), high=float(high), n=len(labels), method=test)
    return Difference(interval=found, p=min(1.0, 2 * permutation_p(other, DRAWS)), test=test)
