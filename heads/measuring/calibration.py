"""Probabilities that mean what they say: one number, the temperature, divides log-probabilities.

It promises something for videos like those that it was fitted on, no others.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heads.measuring.metrics import Floats, Labels

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
