"""Sets of classes that leave the truth out as rarely as promised, class by class.

A class is in the set where its probability is at least the class's threshold: the quantile of that
probability over calibration videos of the class, so the promise holds for rare classes too, and is
kept to the point where probabilities are continuous. Adaptive sets (APS, RAPS) cover as much of
each class with more classes in a set, and to cover no more than promised they must be empty for
some of the surest videos, which reads as "unsure" at 97% (`python -m benchmarks.class_sets`). An
empty set says that no class is likely enough, a full one that each may be.

The promise holds for videos like the calibration ones, and only if those decided nothing about the
head: they are predictions out of fold, or videos that the user names. Bundles of the first version
have one threshold for all classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heads.errors import BadSetting, BadTable
from heads.measuring.intervals import Interval, wilson
from heads.measuring.metrics import Floats, Labels

ERROR_RATES = (0.05, 0.1, 0.2)
NO_CALIBRATION = "no calibration"
Thresholds = Mapping[str, float] | float
"""Class → the least probability; a number: for all of them, as first versions had it."""


def class_thresholds(
    probabilities: Floats, labels: Labels, classes: Sequence[str], rate: float
) -> dict[str, float]:
    """With n videos of a class the k-th smallest of its probabilities, k = floor((n + 1) rate). Too
    few videos for the rate: 0, so that the class is in every set."""
    if not 0 < rate < 1:
        raise BadTable(f"Error rate {rate:g}: give more than 0, less than 1.")
    found = {}
    for place, name in enumerate(classes):
        own = np.sort(probabilities[labels == place, place].astype(np.float64))
        position = math.floor((len(own) + 1) * rate + 1e-9)
        found[name] = float(own[position - 1]) if position >= 1 else 0.0
    return found


def all_thresholds(
    probabilities: Floats, labels: Labels, classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Error rate → class → threshold."""
    return {
        f"{rate:g}": class_thresholds(probabilities, labels, classes, rate) for rate in ERROR_RATES
    }


def sets(
    probabilities: Floats, thresholds: Thresholds, classes: Sequence[str]
) -> NDArray[np.bool_]:
    """(n, C): which classes are in."""
    if not isinstance(thresholds, Mapping):
        return np.asarray(probabilities >= thresholds)
    limits = np.array([thresholds[name] for name in classes], np.float64)
    return np.asarray(probabilities >= limits)


def rate_of(conformal: Mapping[str, Thresholds], asked: str | None) -> str | None:
    """The error rate to use: the one asked for, else 0.1; None without calibration. One that the
    bundle does not know is refused."""
    if asked is None:
        return next((rate for rate in ("0.1", *conformal) if rate in conformal), None)
    rate = next((known for known in conformal if _same(known, asked)), None)
    if rate is None:
        have = ", ".join(conformal) or f"none, the bundle has {NO_CALIBRATION}"
        raise BadSetting(
            f"Error rate {asked}: have {have}. `telltale calibrate BUNDLE --store STORE --on SPLIT`"
            f" gives a bundle thresholds of its own."
        )
    return rate


def _same(known: str, asked: str) -> bool:
    try:
        return math.isclose(float(known), float(asked))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How sets did on judged videos."""

    promised: float
    measured: Interval
    size: float
    """Classes in a set, on average."""

    def to_json(self) -> dict[str, object]:
        return {
            "promised": self.promised, "measured": self.measured.value, "size": self.size,
            "interval": [self.measured.low, self.measured.high], "videos": self.measured.n,
        }  # fmt: skip


def coverage(
    probabilities: Floats, labels: Labels, classes: Sequence[str], rate: str, limits: Thresholds
) -> Coverage:
    """On videos that did not set the thresholds."""
    found = sets(probabilities, limits, classes)
    hits = int(found[np.arange(len(labels)), labels].sum())
    return Coverage(
        promised=1 - float(rate),
        measured=wilson(hits, len(labels)),
        size=float(found.sum(1).mean()),
    )
