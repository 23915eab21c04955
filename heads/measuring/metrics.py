"""Every number by which predictions are judged, from one probability per class and video.

Equal to the released code's arithmetic: golden `metrics`. In binary numbers the positive class is
`real`, as there. A number that does not exist (an AUC with one class) is NaN here, and
`Metrics.undefined` says why.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

REAL = "real"
_WORDS = {"auc": "AUC", "f1": "F1", "binary": "real or not,"}

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]


def plain_name(name: str) -> str:
    """As people read it: `validation binary_auc` is "validation real or not, AUC"."""
    words = re.split(r"[_ ]", name.replace(",", " ,"))
    return " ".join(_WORDS.get(word, word) for word in words).replace(" ,", ",")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Of one set of videos. All in [0, 1]."""

    videos: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    """Macro: the plain mean over classes that occur in labels or predictions."""
    auc: float
    """Macro, one class against the rest."""
    average_precision: float
    binary_accuracy: float
    binary_auc: float
    binary_f1: float
    class_f1: Mapping[str, float]
    confusion: NDArray[np.int64]
    """Rows: truth, columns: prediction."""
    undefined: Mapping[str, str] = field(default_factory=dict)
    """Name of a number that does not exist → why."""

    def numbers(self) -> dict[str, float]:
        """The headline numbers by name."""
        names = (
            "accuracy", "auc", "f1", "precision", "recall", "average_precision",
            "binary_accuracy", "binary_auc", "binary_f1",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


def averaged(probabilities: Floats) -> Floats:
    """Views are averaged as probabilities: (n, V, C) → (n, C).

    A view in which there was nothing to look at (NaN) counts for nothing, and a video of such views
    alone stays without result.
    """
    means: Floats = probabilities.mean(1, dtype=np.float32)
    if np.isnan(means).any():
        seen = ~np.isnan(probabilities).any(-1, keepdims=True)
        total = np.where(seen, probabilities, 0).sum(1, dtype=np.float32)
        count = seen.sum(1)
        means = np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan))
    return means


def has_result(means: Floats) -> NDArray[np.bool_]:
    """(n): not of videos in which there was nothing to look at."""
    found: NDArray[np.bool_] = np.asarray(~np.isnan(means).any(-1))
    return found


def measure(probabilities: Floats, labels: Labels, classes: Sequence[str]) -> Metrics:
    """All of it, of the videos that have a result. `probabilities` are (n, C), `labels` (n)."""
    there = has_result(probabilities)
    probabilities, labels = probabilities[there], labels[there]
    predictions = probabilities.argmax(1)
    confusion = confusion_matrix(labels, predictions, len(classes))
    f1, precision, recall, seen = _per_class(confusion)
    auc, average_precision, undefined = _rankings(probabilities, labels, classes)
    binary = _binary(probabilities, labels, classes, undefined)
    return Metrics(
        videos=len(labels),
        accuracy=float(np.trace(confusion) / max(len(labels), 1)),
        precision=float(precision[seen].mean()),
        recall=float(recall[seen].mean()),
        f1=float(f1[seen].mean()),
        auc=auc,
        average_precision=average_precision,
        class_f1=dict(zip(classes, f1.tolist(), strict=True)),
        confusion=confusion,
        undefined=undefined,
        **binary,
    )


def confusion_matrix(labels: Labels, predictions: Labels, classes: int) -> NDArray[np.int64]:
    flat = np.bincount(labels.astype(np.int64) * classes + predictions, minlength=classes**2)
    return flat.reshape(classes, classes)


def row_shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of a confusion matrix: of each true class, the share said to be each; 0 for one not there."""
    return np.asarray(matrix / np.maximum(matrix.sum(1, keepdims=True), 1))


def area(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, by ranks, ties by half; NaN with one class."""
    hits = int(positive.sum())
    if not 0 < hits < len(positive):
        return math.nan
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(scores) - hits)))


def macro_auc(probabilities: Floats, labels: Labels) -> float:
    """One class against the rest, averaged; NaN when a class has no video, or all."""
    return float(
        np.mean([area(probabilities[:, c], labels == c) for c in range(probabilities.shape[1])])
    )


def macro_aucs(probabilities: Floats, labels: Labels) -> Floats:
    """`macro_auc` of many sets of predictions, (K, n, C), about the same videos."""
    ranks = rankdata(probabilities, axis=1)
    onehot = labels[:, None] == np.arange(probabilities.shape[2])
    hits = onehot.sum(0)
    rest = len(labels) - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        areas = ((ranks * onehot).sum(1) - hits * (hits + 1) / 2) / (hits * rest)
    means: Floats = areas.mean(1)
    return means


def average_precision(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Mean precision at each hit, videos of equal score together."""
    if not positive.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    hits = positive[order].cumsum()
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    recall = hits[last] / positive.sum()
    return float(((hits[last] / (last + 1)) * np.diff(recall, prepend=0.0)).sum())


def _per_class(
    confusion: NDArray[np.int64],
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    hits = np.diag(confusion).astype(float)
    truth, said = confusion.sum(1), confusion.sum(0)
    precision = np.divide(hits, said, out=np.zeros_like(hits), where=said > 0)
    recall = np.divide(hits, truth, out=np.zeros_like(hits), where=truth > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(hits), where=both > 0)
    return f1, precision, recall, (truth + said) > 0


def _rankings(
    probabilities: Floats, labels: Labels, classes: Sequence[str]
) -> tuple[float, float, dict[str, str]]:
    absent = [name for c, name in enumerate(classes) if not (labels == c).any()]
    undefined = {}
    auc = macro_auc(probabilities, labels)
    if math.isnan(auc):
        why = f"no video is {', '.join(absent)}" if absent else "all videos are of one class"
        undefined["auc"] = why
    precisions = [
        average_precision(probabilities[:, c], labels == c)
        for c in range(len(classes))
        if (labels == c).any()
    ]
    return auc, float(np.mean(precisions)) if precisions else math.nan, undefined


def _binary(
    probabilities: Floats, labels: Labels, classes: Sequence[str], undefined: dict[str, str]
) -> dict[str, float]:
    """Real against everything else: the argmax mapped, the probability of real as the score."""
    if REAL not in classes:
        undefined["binary"] = f"there is no class {REAL!r}"
        return dict.fromkeys(("binary_accuracy", "binary_auc", "binary_f1"), math.nan)
    index = list(classes).index(REAL)
    truth, said = labels == index, probabilities.argmax(1) == index
    auc = area(probabilities[:, index], truth)
    if math.isnan(auc):
        undefined["binary_auc"] = "all videos are real" if truth.any() else "no video is real"
    hits = int((truth & said).sum())
    total = int(truth.sum() + said.sum())
    return {
        "binary_accuracy": float((truth == said).mean()) if len(labels) else math.nan,
        "binary_auc": auc,
        "binary_f1": 2 * hits / total if total else 0.0,
    }
