"""How well facts tell classes apart, and whether that is more than chance.

The readout: every fact is cut into a few bins, every pair of facts into the cells of their grid,
and a video speaks for the classes that are common in its cells among the *other* folds' videos.
It needs no fitting but counting, so that hundreds of permutations can be judged at once.

The test moves the facts from video to video and leaves labels and folds as they are: folds stay
stratified, and what the readout reaches then is what it reaches by chance, with these videos and
these class sizes. Not promised: that it finds what three facts say only together.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from heads.measuring.metrics import Labels, macro_aucs

FOLDS = 5
REPEATS = 3
PERMUTATIONS = 499
BINS = 6
LEVEL = 0.05
POWER_Z = 0.84
"""So many standard deviations above the bound, a leak is noticed four times of five."""
_PRIOR_VIDEOS = 10.0
"""How many videos of the average kind each cell is given, so that an empty one says nothing."""
_AT_ONCE = 4_000_000
"""Cells of videos that are looked up at a time, which bounds the memory."""

_MOST_VIDEOS = 2_000
"""More say nothing new, and take longer."""

Columns = Mapping[str, NDArray[np.generic]]
"""Facts by name, a number or text for each video."""
Cells = NDArray[np.int32]
"""(videos, facts or pairs): the number of the cell that a video is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a readout reached, and what it reaches by chance."""

    videos: int
    accuracy: float
    chance: float
    """Accuracy of always naming the commonest class."""
    auc: float
    """Macro, one class against the rest; 0.5 is nothing."""
    by_chance: NDArray[np.float64]
    """The same AUC of each permutation."""

    @property
    def p(self) -> float:
        """One-sided: an AUC below chance is no finding."""
        reached = int((self.by_chance >= self.auc).sum())
        return (reached + 1) / (len(self.by_chance) + 1)

    @property
    def noticed(self) -> float:
        """The AUC that would be told from chance four times of five, with so many videos."""
        bound = float(np.quantile(self.by_chance, 1 - LEVEL))
        return bound + POWER_Z * float(self.by_chance.std())

    def folded(self) -> "Told":
        """For classes that have no order: 0.3 separates them as well as 0.7."""
        return Told(
            videos=self.videos, accuracy=self.accuracy, chance=self.chance,
            auc=max(self.auc, 1 - self.auc),
            by_chance=np.maximum(self.by_chance, 1 - self.by_chance),
        )  # fmt: skip


def told(
    columns: Sequence[NDArray[np.generic]],
    labels: Labels,
    *,
    groups: NDArray[np.generic] | None = None,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> Told:
    """Judge a readout of these columns; several are read by pairs.

    `labels` are 0 to C-1, each of at least `FOLDS` videos. Videos of one group are never on both
    sides.
    """
    cells = _cells([binned(column) for column in columns])
    folds = _folds(labels, groups, seed)
    share = 1 / max(len(columns) - 1, 1)  # a fact is in so many pairs; it speaks once
    random = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    found = []
    accuracy = math.nan
    for orders in _orders(len(labels), cells.size, permutations, random):
        scores = np.mean([_scores(cells, labels, fold, orders, share) for fold in folds], axis=0)
        if math.isnan(accuracy):  # the first order is the true one
            accuracy = float((scores[0].argmax(1) == labels).mean())
        found.append(macro_aucs(scores, labels))
    aucs = np.concatenate(found).astype(np.float64)
    return Told(
        videos=len(labels), accuracy=accuracy, auc=float(aucs[0]),
        by_chance=aucs[1:],
        chance=float(np.bincount(labels, minlength=classes).max() / len(labels)),
    )  # fmt: skip


def judged(
    columns: Columns,
    labels: NDArray[np.generic],
    inside: NDArray[np.bool_],
    groups: NDArray[np.generic] | None = None,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> Told:
    """`told` of some of the videos: of a spread of them where they are very many."""
    rows = np.flatnonzero(inside)
    if len(rows) > _MOST_VIDEOS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_VIDEOS, replace=False))
    there = labels[rows]
    kept = common(there, [])[0]
    rows, codes = rows[kept], np.unique(there[kept], return_inverse=True)[1]
    read = list(varying({name: column[rows] for name, column in columns.items()})[0].values())
    read = read or [next(iter(columns.values()))[rows]]
    of = None if groups is None else groups[rows]
    return told(read, codes, groups=of, seed=seed, permutations=permutations)


def varying(columns: Columns) -> tuple[Columns, list[str]]:
    """Facts that are not the same everywhere, and the names of those that are."""
    kept, constant = {}, []
    for name, column in columns.items():
        known = column if column.dtype.kind not in "f" else np.nan_to_num(column, nan=-1.0)
        if len(np.unique(known)) > 1:
            kept[name] = column
        else:
            constant.append(name)
    return kept, constant


def common(
    labels: NDArray[np.generic], classes: Sequence[str]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Videos of classes that have one for every fold, and what the others are."""
    values, counts = np.unique(labels, return_counts=True)
    rare = values[counts < FOLDS]
    words = [
        f"{int(count)} {classes[int(value)]} videos, fewer than {FOLDS}"
        for value, count in zip(values, counts, strict=True)
        if count < FOLDS and classes
    ]
    return ~np.isin(labels, rare), words


def one_of_each(labels: NDArray[np.generic], groups: NDArray[np.generic]) -> NDArray[np.int64]:
    """The first video of every group and label: those of one group are not independent."""
    numbers, classes = (np.unique(of, return_inverse=True)[1] for of in (groups, labels))
    pairs = numbers.astype(np.int64) * (int(classes.max(initial=0)) + 1) + classes
    return np.sort(np.unique(pairs, return_index=True)[1])


def binned(column: NDArray[np.generic]) -> NDArray[np.int32]:
    """Few values as they are, many by their quantiles; what is not known has a bin of its own."""
    if column.dtype.kind not in "fiub":
        return _by_frequency(column)
    numbers = column.astype(np.float64)
    known = ~np.isnan(numbers)
    codes = np.zeros(len(numbers), np.int32)
    values = np.unique(numbers[known])
    if len(values) > BINS:
        values = np.unique(np.quantile(numbers[known], np.linspace(0, 1, BINS + 1)[:-1]))
    codes[known] = np.searchsorted(values, numbers[known], side="right")
    return codes


def _by_frequency(column: NDArray[np.generic]) -> NDArray[np.int32]:
    """Texts: the commonest have a bin each, all others share one."""
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    place = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    return np.minimum(place[inverse], BINS).astype(np.int32)


def holm(values: Sequence[float]) -> list[float]:
    """p-values of several tests, each raised so that one false alarm among all of them is as rare
    as the level says."""
    order = np.argsort(values, kind="stable")
    raised, highest = [0.0] * len(values), 0.0
    for place, index in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        raised[index] = highest
    return raised


def _cells(codes: Sequence[NDArray[np.int32]]) -> Cells:
    """Pairs of facts, or the only one; cell numbers of different pairs differ."""
    pairs = combinations(codes, 2) if len(codes) > 1 else [(codes[0], np.zeros_like(codes[0]))]
    numbers, first = [], 0
    for one, other in pairs:
        kinds, inverse = np.unique(one * (BINS + 2) + other, return_inverse=True)
        numbers.append(inverse + first)
        first += len(kinds)
    return np.stack(numbers, 1).astype(np.int32)


def _folds(
    labels: Labels, groups: NDArray[np.generic] | None, seed: int
) -> list[NDArray[np.int64]]:
    """For each repeat, the fold of every video."""
    repeats = []
    for repeat in range(REPEATS):
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        splits = kind(FOLDS, shuffle=True, random_state=seed + repeat)
        fold = np.zeros(len(labels), np.int64)
        for number, (_, held) in enumerate(splits.split(labels, labels, groups)):
            fold[held] = number
        repeats.append(fold)
    return repeats


def _orders(
    videos: int, size: int, permutations: int, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """The true order and then random ones, a few at a time."""
    at_once = max(1, _AT_ONCE // size)
    left, first = permutations, [np.arange(videos)]
    while left or first:
        count = min(at_once - len(first), left)
        yield np.stack([*first, *(random.permutation(videos) for _ in range(count))])
        left, first = left - count, []


def _scores(
    cells: Cells, labels: Labels, fold: NDArray[np.int64], orders: NDArray[np.int64], share: float
) -> NDArray[np.float32]:
    """(orders, videos, classes): what the other folds' counts say of each video."""
    classes, kinds = int(labels.max()) + 1, int(cells.max()) + 1
    onehot = np.eye(classes)[labels]
    inside = np.stack([onehot[fold == number].sum(0) for number in range(FOLDS)])
    prior = (onehot.sum(0) - inside) / (len(labels) - inside.sum(1, keepdims=True))  # (F, C)
    every = []
    for order in orders:
        moved = cells[order]  # (n, K)
        place = (fold[:, None] * kinds + moved) * classes + labels[:, None]
        held = np.bincount(place.ravel(), minlength=FOLDS * kinds * classes)
        held = held.reshape(FOLDS, kinds, classes)
        others = held.sum(0) - held + _PRIOR_VIDEOS * prior[:, None]
        weights = np.log(others / others.sum(2, keepdims=True) / prior[:, None])
        flat = weights.reshape(-1, classes).astype(np.float32)
        said = flat[fold[:, None] * kinds + moved].sum(1) * share + np.log(prior)[fold]
        powers = np.exp(said - said.max(1, keepdims=True))
        every.append(powers / powers.sum(1, keepdims=True))
    return np.stack(every).astype(np.float32)
