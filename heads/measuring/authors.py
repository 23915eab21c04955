"""Figures as detectors' authors compute them, for putting ours beside theirs.

Each is one released evaluation, with what it does oddly: averages that are not balanced, counts
that are not the rows', thresholds that are chosen on what is judged. None of them is used to say
how good a head is; `metrics.py` and `intervals.py` are. In every function `scores` are larger for
what `positive` marks. Golden: the `*_eval`, `*_metrics`, `*_protocol` and `threshold` files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

Scores = NDArray[np.floating]
Marks = NDArray[np.bool_]

NOMINAL = {
    "fake/ModelScope": 700, "fake/Morph": 700, "fake/MoonValley": 626, "fake/HotShot": 700,
    "fake/EvalCrafter_T2V_Dataset/show_1": 700, "fake/Sora": 56, "fake/Wild": 926,
    "fake/VideoCrafter": 1400, "fake/Lavies": 1400, "fake/Gen2": 1380,
}  # fmt: skip
"""GenVideo: how many videos a generator has, whatever is judged."""
NOMINAL_REALS = 10_000
_SEED = 42


def average_precision(positive: Marks, scores: Scores) -> float:
    """Not balanced: a constant score has the share of positives. D3 reports it with real as the
    positive class."""
    return float(average_precision_score(positive, scores))


def auc(positive: Marks, scores: Scores) -> float:
    return float(roc_auc_score(positive, scores))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenVideo:
    """Of one generator, as DeMamba's code reports it."""

    recall: float
    f1: float
    """Of nominal counts: it depends on 10,000 reals that are not among the rows."""
    average_precision: float
    """The generator's rows and all real ones."""


def genvideo(paths: Sequence[str], generated: Marks, probabilities: Scores) -> dict[str, GenVideo]:
    """Generator's path → its figures; `generated` when the probability is above one half."""
    said = probabilities > 0.5
    false = int((1 - (~said[~generated]).mean()) * NOMINAL_REALS)
    found = {}
    for prefix, count in NOMINAL.items():
        rows = np.array([path.startswith(prefix) for path in paths])
        if rows.any():
            recall = float((said == generated)[rows].mean())
            hits, missed = int(recall * count), int((1 - recall) * count)
            precision, share = hits / max(hits + false, 1), hits / max(hits + missed, 1)
            both = rows | ~generated
            found[prefix] = GenVideo(
                recall=recall,
                f1=2 * precision * share / (precision + share) if hits else 0.0,
                average_precision=average_precision(generated[both], probabilities[both]),
            )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """As SPLIT's code reports it."""

    ap_real: float
    ap_generated: float
    auc: float
    best_precision: float
    best_recall: float
    """Where F1 is best on the judged videos themselves."""
    recall_at: Mapping[float, float]
    """Share of false alarms → recall of generated videos."""


def split(real: Scores, generated: Scores, alarms: Sequence[float] = (0.001, 0.01, 0.05)) -> Split:
    """Scores are larger for generated videos; thresholds for false alarms are quantiles of the
    real ones."""
    scores = np.concatenate([real, generated])
    positive = np.arange(len(scores)) >= len(real)
    precision, recall, _ = precision_recall_curve(positive, scores)
    best = int((2 * precision * recall / np.maximum(precision + recall, 1e-12)).argmax())
    return Split(
        ap_real=average_precision(~positive, -scores),
        ap_generated=average_precision(positive, scores),
        auc=auc(positive, scores),
        best_precision=float(precision[best]),
        best_recall=float(recall[best]),
        recall_at={
            share: float((generated >= np.quantile(real, 1 - share, method="higher")).mean())
            for share in alarms
        },
    )


def stall(
    real: Mapping[str, Sequence[float]], generated: Mapping[str, Sequence[float]]
) -> dict[str, tuple[float, float]]:
    """Generator → AUC and average precision with real positive, of as many reals as generated
    videos, equally many from every real source."""
    found = {}
    for name, fakes in generated.items():
        wanted = len(fakes) // len(real)
        reals = np.concatenate([_sample(np.asarray(rows), wanted) for rows in real.values()])
        scores = np.concatenate([reals, np.asarray(fakes)[: len(reals)]])
        positive = np.arange(len(scores)) < len(reals)
        found[name] = auc(positive, scores), average_precision(positive, scores)
    return found


def _sample(rows: NDArray[np.floating], count: int) -> NDArray[np.floating]:
    """As pandas draws rows with its authors' seed."""
    random = np.random.RandomState(_SEED)
    return rows[random.choice(len(rows), size=min(count, len(rows)), replace=False)]


def vpvp(
    labels: NDArray[np.integer], generators: Sequence[str], scores: Scores
) -> dict[str, tuple[float, float]]:
    """Generator → AUC against all reals, and accuracy at one half on both; one with fewer than two
    videos is left out."""
    real = labels == 0
    found = {}
    for name in sorted({g for g, is_real in zip(generators, real, strict=True) if not is_real}):
        own = np.array([g == name for g in generators]) & ~real
        rows = own | real
        if own.sum() >= 2:
            hits = (scores > 0.5) == (labels == 1)
            found[name] = auc(labels[rows] == 1, scores[rows]), float(hits[rows].mean())
    return found


def unifd_threshold(generated: Marks, scores: Scores) -> float:
    """UniFD's "best" threshold, chosen on the judged images: between the classes where they are
    apart; else the last of the scores at which `score >= threshold` is most often right."""
    highest, lowest = scores[~generated].max(), scores[generated].min()
    if lowest >= highest:
        return float((highest + lowest) / 2)
    right = [float(((scores >= threshold) == generated).mean()) for threshold in scores]
    return float(scores[int(np.flatnonzero(np.array(right) == max(right))[-1])])


def restrav_threshold(real: Marks, probabilities: Scores) -> tuple[float, float]:
    """ReStraV's threshold on the probability of being real, and its F1: the first of 81 steps whose
    F1 is best."""
    steps = np.linspace(0.1, 0.9, 81)
    scores = []
    for step in steps:
        said = probabilities >= step
        hits = int((said & real).sum())
        scores.append(2 * hits / max(int(said.sum()) + int(real.sum()), 1))
    best = int(np.argmax(scores))
    return float(steps[best]), float(scores[best])
