"""The shortcut audit: how well facts about the files alone tell the label.

A detector that learns "generated videos are 8 frames a second" is no detector. A small forest of
trees sees container facts only, cross-validated; what it reaches is what a head has to beat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from features_store import facts
from features_store.store import Store
from heads.errors import BadTable
from heads.judging.metrics import measure

FOLDS = 5
_TREES = 60
Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """How much a set of facts gives away of a set of videos."""

    videos: int
    accuracy: float
    auc: float
    chance: float
    """Accuracy of always saying the commonest class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the files' facts give away."""

    everything: Leak
    facts: Mapping[str, Leak]
    """Each fact by itself, worst first."""
    sources: Mapping[str, Leak]
    """Within each source that has more than one class."""
    constant: Sequence[str]
    """Facts that never change, or are not known."""

    def lines(self) -> list[str]:
        whole = self.everything
        worst = next(iter(self.facts), None)
        lines = [
            f"file facts alone: accuracy {whole.accuracy:.1%} (chance {whole.chance:.1%}), "
            f"AUC {whole.auc:.3f}, on {whole.videos} videos",
            *(f"  {name:14} AUC {leak.auc:.3f}" for name, leak in self.facts.items()),
        ]
        lines += [
            f"within {name}: accuracy {leak.accuracy:.1%} (chance {leak.chance:.1%}), "
            f"AUC {leak.auc:.3f}"
            for name, leak in self.sources.items()
        ]
        if self.constant:
            lines.append(f"say nothing: {', '.join(self.constant)}")
        lines.append(self._words(worst))
        return lines

    def _words(self, worst: str | None) -> str:
        if self.everything.auc < 0.6 or worst is None:
            return "Little leaks: what a head reaches comes from elsewhere."
        return (
            f"The files give labels away, most of all by {worst}: compare every head with "
            f"{self.everything.accuracy:.1%}, and re-encode all videos alike before trusting one."
        )


def audit(store: Store, seed: int = 0) -> Audit:
    """Look at every labelled video whose facts are known."""
    known = facts.read(store)
    labels = store.videos.column("label").astype(np.int64)
    mask = (labels >= 0) & ~np.isnan(known["frames"])
    sources = store.videos.column("source")[mask]
    labels = labels[mask]
    columns, constant = _columns(known, mask)
    if len(np.unique(labels)) < 2 or np.bincount(labels)[np.unique(labels)].min() < FOLDS:
        raise BadTable(
            f"An audit needs {FOLDS} videos or more of each of two classes; the store has "
            f"{len(labels)} labelled videos with known facts."
        )
    everything = leak(np.stack(list(columns.values()), 1), labels, store.classes, seed)
    each = {name: leak(c[:, None], labels, store.classes, seed) for name, c in columns.items()}
    within = {}
    for source in np.unique(sources):
        inside = sources == source
        if _enough(labels[inside]):
            matrix = np.stack([column[inside] for column in columns.values()], 1)
            within[str(source)] = leak(matrix, labels[inside], store.classes, seed)
    order = sorted(each, key=lambda name: -each[name].auc)
    return Audit(
        everything=everything,
        facts={name: each[name] for name in order},
        sources=within,
        constant=constant,
    )


def leak(
    matrix: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[str], seed: int
) -> Leak:
    """Cross-validated, so that trees are judged on videos they have not seen."""
    present = np.unique(labels)
    forest = RandomForestClassifier(_TREES, random_state=seed, n_jobs=1, min_samples_leaf=2)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    found = cross_val_predict(forest, matrix, labels, cv=folds, method="predict_proba")
    positions = np.searchsorted(present, labels)
    names = [classes[label] for label in present.tolist()]
    metrics = measure(found, positions, names)
    chance = float(np.bincount(positions).max() / len(labels))
    return Leak(videos=len(labels), accuracy=metrics.accuracy, auc=metrics.auc, chance=chance)


def _columns(
    known: Mapping[str, NDArray[np.generic]], mask: NDArray[np.bool_]
) -> tuple[dict[str, Column], list[str]]:
    """Facts that vary, as numbers: texts by their place in the alphabet."""
    columns, constant = {}, []
    for name in (*facts.NUMBERS, *facts.TEXTS):
        column = known[name][mask]
        if name in facts.TEXTS:
            column = np.unique(column, return_inverse=True)[1]
        numbers = np.nan_to_num(column.astype(np.float64), nan=-1.0)
        if len(numbers) and (numbers != numbers[0]).any():
            columns[name] = numbers
        else:
            constant.append(name)
    if not columns:
        raise BadTable("All files have the same facts: there is nothing to give away.")
    return columns, constant


def _enough(labels: NDArray[np.int64]) -> bool:
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return len(counts) > 1 and int(counts.min()) >= FOLDS
