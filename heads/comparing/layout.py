"""What compared detectors said, as the cells of a table: the paper's Table 2 tells all classes
apart, its Table 4 real from generated.

A cell is a mean over seeds. One seed has the interval that its number has; of three or more, both
videos and seeds are in it (`judging.two_way`); of two nothing can be said. The two-class verdict of
a head with four classes is `real` where that is its likeliest class, its score p(real).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heads.data.generators import Sources, sources_of
from heads.judging.evaluation import ALL, AVERAGE
from heads.judging.two_way import Spread, difference, spread
from heads.measuring.intervals import Interval, absent, macro_auc_interval
from heads.measuring.intervals import accuracy as accuracy_interval
from heads.measuring.metrics import REAL, Floats
from heads.measuring.tests import Difference, delong, mcnemar

METRICS = ("accuracy", "auc")
GENERATED = "generated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one run said: the class with the largest number is its answer, the numbers are ranked
    for the AUC."""

    answer: Floats
    ranked: Floats

    def take(self, mask: NDArray[np.bool_]) -> "Verdict":
        return Verdict(answer=self.answer[mask], ranked=self.ranked[mask])

    def of(self, metric: str) -> Floats:
        return self.answer if metric == "accuracy" else self.ranked


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """A row against the chosen one, on the same videos."""

    accuracy: Difference
    """McNemar's, of the first seeds."""
    auc: Difference
    """DeLong's, of the first seeds."""
    over_seeds: Mapping[str, Spread]
    """Metric → the difference over videos and seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One table."""

    title: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    said: Mapping[str, Sequence[Verdict]]
    """Row → a verdict a seed."""
    sources: Sources
    _cells: dict[tuple[str, str, str], Interval] = field(default_factory=dict, repr=False)
    """That were asked for already."""

    @property
    def columns(self) -> list[str]:
        """Generators, their mean, and everything at once."""
        return [*self.sources.masks, AVERAGE, ALL]

    def counts(self, column: str) -> tuple[int, int]:
        """Real and generated videos of a column."""
        labels = self.labels[self._mask(column)]
        real = self.classes.index(REAL) if REAL in self.classes else -1
        return int((labels == real).sum()), int((labels != real).sum())

    def cell(self, row: str, column: str, metric: str) -> Interval:
        """In shares; NaN where a class is missing."""
        where = row, column, metric
        if where not in self._cells:
            self._cells[where] = self._cell(*where)
        return self._cells[where]

    def _cell(self, row: str, column: str, metric: str) -> Interval:
        if column == AVERAGE:
            return self._average(row, metric)
        mask = self._mask(column)
        runs = [verdict.take(mask).of(metric) for verdict in self.said[row]]
        return number(metric, runs, self.labels[mask], self.classes)

    def tests(self, row: str, against: str) -> Tests:
        """The row minus the other, over all videos."""
        mine, others = self.said[row], self.said[against]
        right = [one.answer.argmax(1) == self.labels for one in (others[0], mine[0])]
        over = {}
        for metric in METRICS:
            first, second = ([one.of(metric) for one in runs] for runs in (mine, others))
            if len(first) == len(second) and self._is_whole:
                over[metric] = difference(metric, first, second, self.labels, self.classes)
        return Tests(
            accuracy=mcnemar(*right),
            auc=delong(others[0].ranked, mine[0].ranked, self.labels, self.classes),
            over_seeds=over,
        )

    @property
    def _is_whole(self) -> bool:
        return len(np.unique(self.labels)) == len(self.classes)

    def _mask(self, column: str) -> NDArray[np.bool_]:
        every = np.ones(len(self.labels), bool)
        return every if column == ALL else np.asarray(self.sources.masks[column])

    def _average(self, row: str, metric: str) -> Interval:
        cells = [self.cell(row, column, metric) for column in self.sources.masks]
        values = [one.value for one in cells if not math.isnan(one.value)]
        why = "a mean over generators"
        return absent(float(np.mean(values)) if values else math.nan, len(values), why)


def number(
    metric: str, runs: Sequence[Floats], labels: NDArray[np.int64], classes: Sequence[str]
) -> Interval:
    """A mean over seeds with what it is sure of."""
    missing = [name for place, name in enumerate(classes) if not (labels == place).any()]
    if metric == "auc" and missing:
        return absent(math.nan, len(labels), f"no video is {', '.join(missing)}")
    if len(runs) == 1:
        (only,) = runs
        if metric == "auc":
            return macro_auc_interval(only, labels, classes)
        return accuracy_interval(only, labels)
    found = spread(metric, runs, labels, classes)
    if found.why:
        return absent(found.value, len(labels), found.why)
    return Interval(
        value=found.value, low=found.low, high=found.high, n=len(labels),
        method=f"videos and {len(runs)} seeds",
    )  # fmt: skip


def layouts(
    said: Mapping[str, Sequence[Floats]],
    labels: NDArray[np.int64],
    sources: Sequence[str],
    classes: tuple[str, ...],
) -> list[Layout]:
    """All classes, and real against generated where there are more than two."""
    found = sources_of(sources, labels, classes)
    plain = {row: [Verdict(answer=run, ranked=run) for run in runs] for row, runs in said.items()}
    first = Layout(
        title=f"{len(classes)} classes", classes=classes, labels=labels, said=plain, sources=found
    )
    if REAL not in classes or len(classes) == 2:
        return [first]
    real = classes.index(REAL)
    two = Layout(
        title="2 classes: real or generated",
        classes=(GENERATED, REAL),
        labels=(labels == real).astype(np.int64),
        said={row: [_two(run, real) for run in runs] for row, runs in said.items()},
        sources=found,
    )
    return [first, two]


def best_auc(layout: Layout, row: str) -> float:
    """What rows are put in order by: the mean over generators, else over all videos."""
    mean = layout.cell(row, AVERAGE, "auc").value
    return layout.cell(row, ALL, "auc").value if math.isnan(mean) else mean


def _two(run: Floats, real: int) -> Verdict:
    said = (run.argmax(1) == real).astype(np.float32)
    scores = run[:, real].astype(np.float64)
    return Verdict(answer=np.stack([1 - said, said], 1), ranked=np.stack([-scores, scores], 1))
