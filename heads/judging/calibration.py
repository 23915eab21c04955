"""Probabilities that mean what they say, and verdicts with a promised error rate.

Temperature: one number, fitted on validation videos, that divides log-probabilities. Conformal
sets: the classes whose probability is above a threshold, chosen on validation videos so that the
truth is left out with the asked error rate at most, on average over such samples; an empty or a
full set says "unsure". Both promise something for videos like the validation ones, no others.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heads.errors import BadTable
from heads.judging.metrics import Floats, Labels

ERROR_RATES = (0.05, 0.1, 0.2)
_BINS = 10
_TINY = 1e-12


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Sharper below 1, softer above."""
    if temperature == 1.0:
        return probabilities
    scaled = np.log(np.maximum(probabilities, _TINY)) / temperature
    scaled -= scaled.max(-1, keepdims=True)
    found: NDArray[np.float32] = np.exp(scaled).astype(np.float32)
    found /= found.sum(-1, keepdims=True)
    return found


def fit_temperature(probabilities: NDArray[np.float32], labels: Labels) -> float:
    """The temperature of the views' probabilities (n, V, C) with the lowest loss of their mean."""

    def loss(log_temperature: float) -> float:
        means = tempered(probabilities, math.exp(log_temperature)).mean(1)
        hits = means[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(hits, _TINY)).mean())

    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(60):  # golden section
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) <= loss(b) else (a, high)
    best = (low + high) / 2
    return math.exp(best) if loss(best) < loss(0.0) else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How often a verdict of some confidence is right, bin by bin."""

    confidence: NDArray[np.float64]
    """Mean of each bin that has videos."""
    accuracy: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean gap, by videos."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float((gaps * self.counts).sum() / self.counts.sum())


def reliability(probabilities: Floats, labels: Labels) -> Reliability:
    """Ten bins of equal width; `probabilities` are (n, C)."""
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    index = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(index, minlength=_BINS)
    seen = counts > 0
    return Reliability(
        confidence=np.bincount(index, confidence, _BINS)[seen] / counts[seen],
        accuracy=np.bincount(index, right, _BINS)[seen] / counts[seen],
        counts=counts[seen],
    )


def conformal_threshold(probabilities: Floats, labels: Labels, error_rate: float) -> float:
    """Split conformal: the probability that the truth must have to be in the set.

    With n videos the k-th smallest of the truth's probabilities, k = floor((n + 1) * rate), which
    keeps the promise for any n. Too few videos for the rate: 0, so that every set is full.
    """
    if not 0 < error_rate < 1:
        raise BadTable(f"Error rate {error_rate:g}: give more than 0, less than 1.")
    hits = np.sort(probabilities[np.arange(len(labels)), labels].astype(np.float64))
    position = math.floor((len(hits) + 1) * error_rate)
    return float(hits[position - 1]) if position >= 1 else 0.0


def conformal_thresholds(
    probabilities: Floats, labels: Labels, rates: Sequence[float] = ERROR_RATES
) -> dict[str, float]:
    return {f"{rate:g}": conformal_threshold(probabilities, labels, rate) for rate in rates}


def conformal_sets(probabilities: Floats, threshold: float) -> NDArray[np.bool_]:
    """(n, C): which classes are in."""
    return probabilities >= threshold


def verdict(row: Floats, classes: Sequence[str], thresholds: Mapping[str, float], rate: str) -> str:
    """One class, several joined by |, or unsure where the set is empty or full."""
    inside = [name for name, p in zip(classes, row, strict=True) if p >= thresholds[rate]]
    return "|".join(inside) if 0 < len(inside) < len(classes) else "unsure"


def coverage(probabilities: Floats, labels: Labels, threshold: float) -> tuple[float, float]:
    """On other videos: the share whose set has the truth, and the mean size of a set."""
    sets = conformal_sets(probabilities, threshold)
    return float(sets[np.arange(len(labels)), labels].mean()), float(sets.sum(1).mean())
