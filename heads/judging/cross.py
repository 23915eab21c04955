"""Does a head that learnt from one generator know another's videos? From the cache, in seconds.

Train on one source (or on all but one) and test on each. Real videos belong to every generator:
a source all of whose videos are `real` is no row or column of its own; its videos join every
other source, half of them (by their ids) to learn from and half to be tested on, so that no real
video is ever on both sides.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features_store.table import Table
from heads.data.generators import of, sources_of_table
from heads.data.sides import Data, Mask, by_id
from heads.errors import BadTable
from heads.head import Head
from heads.measuring.intervals import MINIMUM, Interval, absent, accuracy, macro_auc_interval
from heads.measuring.intervals import auc as auc_of
from heads.measuring.metrics import REAL, Floats, averaged
from heads.parts.novelty import familiar, vectors
from heads.training.side_by_side import Fit, learnt

_JUDGED = 0.2
"""Share of the training videos that decide on the best epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A head that learnt from one generator, on another's videos."""

    accuracy: Interval
    auc: Interval
    reals: int = 0
    """Tested ones."""
    fakes: int = 0
    commonest: float = math.nan
    """Share of the commonest class: how often somebody is right who does not look."""


NOTHING = Cell(accuracy=absent(math.nan, 0, "no videos"), auc=absent(math.nan, 0, "no videos"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossTable:
    """A cell for each pair: rows are what was learnt from, columns what was tested."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    unknown: Mapping[str, Interval]
    """With one left out: how well the distance from what was learnt tells its generated videos
    from videos of the others that were not learnt from either."""

    def values(self, metric: str) -> Floats:
        """(rows, columns); NaN where nothing was tested, or a class is missing."""
        found = [[getattr(cell, metric) for cell in row] for row in self.cells]
        return np.array(
            [[one.value if isinstance(one, Interval) else one for one in row] for row in found]
        )

    def unknown_lines(self) -> list[str]:
        return [
            f"unknown {name}: AUC of the distance {found}" for name, found in self.unknown.items()
        ]

    def text(self, metric: str = "accuracy") -> str:
        """Two lines a row: numbers with their counts, and 95% intervals."""
        width = max(16, *(len(name) for name in (*self.rows, *self.columns)))
        lines = [f"{metric:{width}} " + " ".join(name.rjust(width) for name in self.columns)]
        for name, row in zip(self.rows, self.cells, strict=True):
            said = [(getattr(cell, metric), cell) for cell in row]
            numbers = (
                f"{'-' if math.isnan(found.value) else f'{100 * found.value:.1f}'} "
                f"({cell.reals}+{cell.fakes})"
                for found, cell in said
            )
            lines.append(f"{name:{width}} " + " ".join(text.rjust(width) for text in numbers))
            brackets = " ".join(found.brackets.rjust(width) for found, _ in said)
            lines.append(f"{'':{width}} {brackets}".rstrip())
        lines.append(
            "(reals + generated videos that were tested) [95% interval, where each class has "
            f"{MINIMUM} videos or more]"
        )
        return "\n".join(line for line in lines if line)


def cross(
    whole: Data, make: Callable[[], Head], *, leave_one_out: bool = False, seed: int = 0
) -> CrossTable:
    """Train once per row. `whole` has all labelled videos twice: as they are learnt from, and as
    they decide and are tested."""
    known = sources_of_table(whole.train, at_least=2)
    sources, reals = known.generators, known.reals
    rows, cells = [], []
    unknown: dict[str, Interval] = {}

    def sides(source: str) -> tuple[Mask, Mask]:
        learning, judging = (
            _learning(table, source, reals, leave_one_out=leave_one_out)
            for table in (whole.train, whole.validation)
        )
        return _split(whole, learning, judging)

    masks = [sides(source) for source in sources]
    heads = learnt(
        Fit(
            head=make(), train=whole.train, deciding=whole.validation, learns=learns,
            decides=decides, seed=seed,
        )
        for learns, decides in masks
    )  # fmt: skip
    for source, (learns, decides), (head, _) in zip(sources, masks, heads, strict=True):
        judging = _learning(whole.validation, source, reals, leave_one_out=leave_one_out)
        rows.append(f"all but {source}" if leave_one_out else source)
        others = whole.validation.take(~judging)
        tested = [source] if leave_one_out else sources
        cells.append(tuple(_tested(head, others, name, reals) for name in tested))
        if leave_one_out:
            own = Data(train=whole.train.take(learns), validation=whole.validation.take(decides))
            if told := _unknown(head, own, others.take(of(others, [source]))):
                unknown[source] = told
    columns = ("the one left out",) if leave_one_out else tuple(sources)
    return CrossTable(rows=tuple(rows), columns=columns, cells=tuple(cells), unknown=unknown)


def _learning(table: Table, source: str, reals: Sequence[str], *, leave_one_out: bool) -> Mask:
    own, real = of(table, [source]), of(table, reals)
    return ((~own if leave_one_out else own) & ~real) | (real & _half(table))


def _tested(head: Head, others: Table, source: str, reals: Sequence[str]) -> Cell:
    """On a source's videos that were not learnt from, and the other half of the reals. On its own
    source a head is tested on nothing here: that number would be training accuracy."""
    if not of(others, [source]).any():
        return NOTHING
    tested = others.take(of(others, [source, *reals]))
    means, labels = averaged(head.predict(tested)), tested.labels.astype(np.int64)
    real = int((labels == tested.classes.index(REAL)).sum()) if REAL in tested.classes else 0
    return Cell(
        accuracy=accuracy(means, labels), auc=macro_auc_interval(means, labels, head.classes),
        reals=real, fakes=len(tested) - real,
        commonest=float(np.bincount(labels).max() / len(labels)),
    )  # fmt: skip


def _unknown(head: Head, data: Data, left_out: Table) -> Interval | None:
    """Generated videos of a generator that nobody saw, against others that were not learnt from."""
    known = familiar(head, data.train, averaged(head.predict(data.validation)))
    if REAL in left_out.classes:
        left_out = left_out.take(left_out.labels != left_out.classes.index(REAL))
    if known is None or not len(left_out):
        return None
    near, far = vectors(head, data.validation), vectors(head, left_out)
    assert near is not None
    assert far is not None
    distances = np.concatenate([known.distance(near), known.distance(far)])
    is_far = np.arange(len(distances)) >= len(near)
    return auc_of(distances, is_far, ("known", "unknown"))


def _split(whole: Data, learning: Mask, judging: Mask) -> tuple[Mask, Mask]:
    """Who is learnt from and who decides, of those."""
    learns = learning & ~by_id(whole.train.ids, _JUDGED)
    decides = judging & by_id(whole.validation.ids, _JUDGED)
    if not learns.any() or not decides.any():
        raise BadTable(
            f"A source has {learning.sum()} videos to learn from and {judging.sum()} to choose "
            f"judges from: too few."
        )
    return learns, decides


def _half(table: Table) -> Mask:
    """Another hash than the one that splits off the judges."""
    turned: Sequence[str] = [str(name)[::-1] for name in table.ids]
    return by_id(np.array(turned, np.dtypes.StringDType()), 0.5)
