"""Does a head that learnt from one generator know another's videos? From the cache, in seconds.

Train on one source (or on all but one) and test on each. Real videos belong to every generator:
a source all of whose videos are `real` is no row or column of its own; its videos join every
other source, half of them (by their ids) to learn from and half to be tested on, so that no real
video is ever on both sides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features_store.table import Table
from heads.errors import BadTable
from heads.head import Head
from heads.metrics import REAL, averaged, measure
from heads.splits import by_id

_JUDGED = 0.2
"""Share of the training videos that decide on the best epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossTable:
    """One number for each pair: rows are what was learnt from, columns what was tested."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    accuracy: NDArray[np.float64]
    auc: NDArray[np.float64]
    """NaN where the tested videos lack a class."""

    def text(self, metric: str = "accuracy") -> str:
        values = getattr(self, metric)
        width = max(8, *(len(name) for name in (*self.rows, *self.columns)))
        lines = [f"{metric:{width}} " + " ".join(name.rjust(width) for name in self.columns)]
        for name, row in zip(self.rows, values, strict=True):
            cells = ("-" if np.isnan(v) else f"{100 * v:.1f}" for v in row)
            lines.append(f"{name:{width}} " + " ".join(cell.rjust(width) for cell in cells))
        return "\n".join(lines)


def cross(
    table: Table, make: Callable[[], Head], *, leave_one_out: bool = False, seed: int = 0
) -> CrossTable:
    """Train once per row. `table` has all labelled videos."""
    sources, real = generators(table)
    rows, accuracy, auc = [], [], []
    for source in sources:
        own = _of(table, source)
        learning = (~own if leave_one_out else own) & ~real | (real & _half(table))
        head = make()
        train, judge = _split(table.take(learning))
        head.fit(train, judge, seed=seed)
        rows.append(f"all but {source}" if leave_one_out else source)
        tested = [source] if leave_one_out else sources
        numbers = [_tested(head, table, _of(table, name) & ~learning, real) for name in tested]
        accuracy.append([number[0] for number in numbers])
        auc.append([number[1] for number in numbers])
    columns = ("the one left out",) if leave_one_out else tuple(sources)
    return CrossTable(
        rows=tuple(rows), columns=columns, accuracy=np.array(accuracy), auc=np.array(auc)
    )


def generators(table: Table) -> tuple[list[str], NDArray[np.bool_]]:
    """Sources that are generators, and which videos are of real-only sources."""
    names = [str(name) for name in np.unique(table.sources)]
    real_label = table.classes.index(REAL) if REAL in table.classes else -1
    only_real = [n for n in names if (table.labels[_of(table, n)] == real_label).all()]
    found = [name for name in names if name not in only_real]
    if len(found) < 2:
        raise BadTable(
            f"A cross-generator table needs two sources or more; there is {', '.join(found)}."
        )
    return found, np.isin(table.sources, np.array(only_real, np.dtypes.StringDType()))


def _tested(
    head: Head, table: Table, mask: NDArray[np.bool_], real: NDArray[np.bool_]
) -> tuple[float, float]:
    """On a source's videos that were not learnt from, and the other half of the reals. On its own
    source a head is tested on nothing here: that number would be training accuracy."""
    if not mask.any():
        return float("nan"), float("nan")
    tested = table.take(mask | (real & ~_half(table)))
    found = measure(averaged(head.predict(tested)), tested.labels, head.classes)
    return found.accuracy, found.auc


def _split(table: Table) -> tuple[Table, Table]:
    judging = by_id(table.ids, _JUDGED)
    if not judging.any() or judging.all():
        raise BadTable(f"{len(table)} videos of a source are too few to train on.")
    return table.take(~judging), table.take(judging)


def _of(table: Table, source: str) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = table.sources == source
    return mask


def _half(table: Table) -> NDArray[np.bool_]:
    """Another hash than the one that splits off the judges."""
    turned: Sequence[str] = [str(name)[::-1] for name in table.ids]
    return by_id(np.array(turned, np.dtypes.StringDType()), 0.5)
