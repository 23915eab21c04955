"""How sure a number is: 95% intervals for every number that is printed.

Proportions have Wilson's interval. Areas under the ROC curve have a score interval: Newcombe's,
whose assumed variance gives way to DeLong's measured one as classes grow, so that it holds for ten
videos of a class and for a perfect ranking too. Everything else (F1, average precision, equal
error rate, true positives at few false alarms) has Wilson's interval for as many videos as would
explain how much it varies when videos are drawn again inside each class. Bootstrap percentiles and
BCa were tried for these: with 20 to 200 videos their 95% covered 43 to 92%.

An interval that cannot be had is NaN, and `why` says what is lacking.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from heads.measuring.metrics import Floats, Labels, macro_auc

LEVEL = 0.95
Z = float(stats.norm.ppf(0.5 + LEVEL / 2))
MINIMUM = 10
"""Videos of each class, below which no interval but Wilson's says anything."""
DRAWS = 1000
"""Of videos, for differences."""
SPREAD_DRAWS = 200
"""For a standard error, with up to `_AT_ONCE` numbers in all."""
_FEWEST_DRAWS = 25
_AT_ONCE = 20_000_000
_FEW = 10
"""With so many videos in the smallest class the assumed and the measured variance count alike."""
_ENDS = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number, how many videos it is of, and where it may lie."""

    value: float
    low: float
    high: float
    n: int
    method: str = ""
    why: str = ""
    """Why there is no interval; empty where there is one."""

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"- (n = {self.n:,}; {self.why})"
        if self.why:
            return f"{100 * self.value:.1f} (n = {self.n:,}; no interval: {self.why})"
        return f"{100 * self.value:.1f} {self.brackets} (n = {self.n:,})"

    @property
    def brackets(self) -> str:
        """The bounds alone, in percent; empty where there are none."""
        return "" if self.why else f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def to_json(self) -> dict[str, object]:
        """As JSON, which has no NaN."""
        found = asdict(self)
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in found.items()
        }


def read_interval(document: Mapping[str, Any]) -> Interval:
    """From what `to_json` gave."""
    given: dict[str, Any] = {
        name: math.nan if value is None else value for name, value in document.items()
    }
    return Interval(**given)


def absent(value: float, n: int, why: str) -> Interval:
    """A number without an interval."""
    return Interval(value=value, low=math.nan, high=math.nan, n=n, why=why)


def wilson(hits: int, n: int) -> Interval:
    """Of a proportion; honest near 0 and 1 and for a handful of videos."""
    if n < 1:
        return absent(math.nan, 0, "no videos")
    low, high = _wilson_bounds(hits / n, n)
    return Interval(value=hits / n, low=low, high=high, n=int(n), method="Wilson")


def accuracy(probabilities: Floats, labels: Labels) -> Interval:
    """Of the likeliest class."""
    return wilson(int((probabilities.argmax(1) == labels).sum()), len(labels))


def too_few(labels: Labels, names: Sequence[str]) -> str:
    """Which classes have too few videos for an interval; empty: none. Labels index `names`."""
    counts = np.bincount(labels, minlength=len(names))
    small = [f"{count} of {name}" for count, name in zip(counts, names, strict=True) if not count]
    small += [
        f"{count} of {name}"
        for count, name in zip(counts, names, strict=True)
        if 0 < count < MINIMUM
    ]
    return f"{', '.join(small)}; {MINIMUM} videos of each class are needed" if small else ""


def auc(
    scores: Floats, positive: NDArray[np.bool_], names: Sequence[str] = ("no", "yes")
) -> Interval:
    """Area under the ROC curve of one score."""
    both = np.stack([-scores, scores], 1)
    return macro_auc_interval(both, positive.astype(np.int64), names)


def macro_auc_interval(
    probabilities: Floats, labels: Labels, names: Sequence[str] | None = None
) -> Interval:
    """One class against the rest, averaged over classes."""
    names = names or [f"class {c}" for c in range(probabilities.shape[1])]
    value, why = macro_auc(probabilities, labels), too_few(labels, names)
    if why or math.isnan(value):
        return absent(value, len(labels), why)
    low, high = auc_bounds(value, class_influence(probabilities, labels), labels)
    return Interval(value=value, low=low, high=high, n=len(labels), method="DeLong, score")


def auc_bounds(value: float, parts: Floats, labels: Labels, z: float = Z) -> tuple[float, float]:
    """Of a macro AUC whose classes have these influences: the areas that it is no farther from than
    `z` standard errors."""
    counts = np.array([(labels == c).sum() for c in range(parts.shape[1])])
    measured = float(class_variance(parts.sum(1), labels).sum())
    shared = _shared(parts, measured, labels)

    def assumed(area: float) -> float:
        return _assumed_variance(area, counts, shared)

    share = counts.min() / (counts.min() + _FEW)
    inside = _ENDS < value < 1 - _ENDS
    ratio = 1 + (measured / assumed(value) - 1) * share if inside else 1.0

    def outside(area: float) -> float:
        return abs(value - area) - z * math.sqrt(ratio * assumed(area))

    below, above = min(value, 1 - _ENDS), max(value, _ENDS)
    low = brentq(outside, 0, below) if value > _ENDS and outside(below) < 0 else value
    high = brentq(outside, above, 1) if value < 1 - _ENDS and outside(above) < 0 else value
    return float(low), float(high)


def influence(probabilities: Floats, labels: Labels) -> Floats:
    """What each video adds to the macro AUC's deviation from its mean (DeLong's placements).

    (n): the sum of variances inside classes, each times its count, is the AUC's variance.
    """
    return np.asarray(class_influence(probabilities, labels).sum(1))


def class_influence(probabilities: Floats, labels: Labels) -> Floats:
    """The same by way of each class's area, (n, C); NaN by way of a class that has no video."""
    found = np.zeros(probabilities.shape)
    for c in range(probabilities.shape[1]):
        positive, scores = labels == c, probabilities[:, c]
        hits, rest = int(positive.sum()), int((~positive).sum())
        if not hits or not rest:
            found[:, c] = math.nan
            continue
        ranks = stats.rankdata(scores)
        above = (ranks[positive] - stats.rankdata(scores[positive])) / rest
        below = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / hits
        found[positive, c] = (above - above.mean()) / hits
        found[~positive, c] = (below - below.mean()) / rest
    return np.asarray(found / probabilities.shape[1])


def class_variance(parts: Floats, labels: Labels) -> Floats:
    """Each class's share of the variance of a sum of such parts; NaN of a single video's."""
    groups = [parts[labels == c] for c in np.unique(labels)]
    return np.array([len(own) * own.var(ddof=1) if len(own) > 1 else math.nan for own in groups])


def _shared(parts: Floats, measured: float, labels: Labels) -> float:
    """How the classes' areas are correlated, on average; 1 of two classes, whose areas are one."""
    each = np.array([class_variance(part, labels).sum() for part in parts.T])
    own, together = each.sum(), np.sqrt(each).sum() ** 2
    if together - own <= _ENDS * own:
        return 1 / (len(each) - 1)
    return float(np.clip((measured - own) / (together - own), 0, 1))


def _assumed_variance(area: float, counts: NDArray[np.integer], shared: float) -> float:
    """Hanley and McNeil's for each class against the rest, as Newcombe uses it."""
    n = counts.sum()
    each = np.array([_hanley(area, int(m), int(n - m)) for m in counts])
    together = (1 - shared) * each.sum() + shared * np.sqrt(each).sum() ** 2
    return float(together / len(counts) ** 2)


def _hanley(area: float, hits: int, rest: int) -> float:
    half = (hits + rest) / 2 - 1
    spread = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
    return area * (1 - area) * spread / (hits * rest)


Statistic = Callable[..., Floats]
"""A number of videos that come class by class, `(*groups, axis)`, along that axis."""


def bootstrap(
    statistic: Statistic, groups: Sequence[Floats], names: Sequence[str], seed: int = 0,
    *, alike: bool = False,
) -> Interval:  # fmt: skip
    """Of a number between 0 and 1; `groups` has one array of scores per class. `alike`: it is a
    mean over classes, so that a large one helps a small one. Others (average precision) come out
    too high for a handful of videos: by as much as the draws show, their interval lies lower."""
    counts = np.array([len(group) for group in groups])
    labels = np.repeat(np.arange(len(groups)), counts)
    value = float(statistic(*groups, axis=-1)) if counts.all() else math.nan
    why = too_few(labels, names)
    if why or math.isnan(value):
        return absent(value, len(labels), why or "not defined")
    assumed = mean_count(counts) if alike else counts.min()
    error, bias = _drawn(statistic, groups, seed, value) if 0 < value < 1 else (0.0, 0.0)
    middle = value if alike else min(1.0, max(0.0, value - bias))
    low, high = share_bounds(middle, error**2, assumed, counts)
    low, high = min(low, value), max(high, value)
    return Interval(
        value=value, low=low, high=high, n=len(labels), method="Wilson, stratified draws"
    )


def mean_count(counts: NDArray[np.integer]) -> float:
    """With so many videos a share varies as the mean of one share in each class does."""
    return len(counts) ** 2 / float((1 / counts).sum())


def share_bounds(
    value: float, measured: float, assumed: float, counts: NDArray[np.integer]
) -> tuple[float, float]:
    """Wilson's, for as many videos as explain the measured variance; with few in the smallest class
    half for as many as assumed."""
    share, ratio = counts.min() / (counts.min() + _FEW), 1.0
    if 0 < value < 1:
        ratio = 1 + (measured * assumed / (value * (1 - value)) - 1) * share
    return _wilson_bounds(value, assumed / ratio)


def _drawn(
    statistic: Statistic, groups: Sequence[Floats], seed: int, value: float
) -> tuple[float, float]:
    """Standard error and bias, over sets of videos drawn again inside each class."""
    size = sum(len(group) for group in groups)
    found = stats.bootstrap(
        groups, statistic, vectorized=True, axis=-1, method="percentile",
        n_resamples=max(_FEWEST_DRAWS, min(SPREAD_DRAWS, _AT_ONCE // size)),
        batch=max(1, _AT_ONCE // 10 // size), rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(found.standard_error), float(found.bootstrap_distribution.mean() - value)


def _wilson_bounds(value: float, n: float) -> tuple[float, float]:
    """Wilson's interval; `n` need not be whole."""
    middle = (value + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(value * (1 - value) / n + Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def f1(probabilities: Floats, labels: Labels, names: Sequence[str], seed: int = 0) -> Interval:
    """Macro F1 of the likeliest class, over the classes that occur."""
    present = np.unique(labels)
    said = probabilities.argmax(1)
    groups = [said[labels == c].astype(float) for c in present]
    statistic = partial(_f1, classes=present, count=len(names))
    return bootstrap(statistic, groups, [names[c] for c in present], seed, alike=True)


def _f1(*groups: Floats, classes: NDArray[np.integer], count: int, axis: int = -1) -> Floats:
    """`groups` hold what was said, a class each of `classes`."""
    table = np.stack([np.stack([(g == c).sum(axis) for c in range(count)], -1) for g in groups], -2)
    truth, said = np.zeros((*table.shape[:-2], count)), table.sum(-2)
    hits = np.zeros_like(truth)
    for place, c in enumerate(classes):
        truth[..., c] = table[..., place, :].sum(-1)
        hits[..., c] = table[..., place, c]
    seen = truth + said
    each = np.divide(2 * hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return np.asarray(each.sum(-1) / (seen > 0).sum(-1))
