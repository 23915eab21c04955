"""What was measured, as text for a terminal: everything with how many videos it is of."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from features_store.table import Table
from heads.head import Head
from heads.judging import paper
from heads.judging.evaluation import (
    ALL,
    AVERAGE,
    Evaluation,
    Predictions,
    SourceResult,
    result_of,
)  # fmt: skip
from heads.measuring.intervals import Interval, accuracy, macro_auc_interval
from heads.measuring.metrics import averaged, has_result, row_shares


def out_of_fold_lines(found: Predictions, folds: int) -> list[str]:
    """Cross-validated numbers of a recipe, for a terminal."""
    whole = result_of(found)
    lines = [
        f"out of fold ({folds} folds, {whole.counts}), by heads that were told nothing of them:"
    ]
    lines += [f"  {name} {number}" for name, number in _headline(whole)]
    return lines


def parts_lines(head: Head, table: Table) -> list[str]:
    """Where several decide together, what each of them is worth on these videos."""
    lines = []
    for name, said in head.parts(table).items():
        means = averaged(said)
        there = has_result(means)
        labels = table.labels[there].astype(np.int64)
        area = macro_auc_interval(means[there], labels, head.classes)
        lines.append(f"  {name}: AUC {area}, accuracy {accuracy(means[there], labels)}")
    return [f"by itself, on {len(table)} videos:", *lines] if lines else []


def _headline(result: SourceResult) -> list[tuple[str, Interval]]:
    return [("accuracy", result.accuracy), ("AUC", result.auc), ("F1", result.f1)]


def text_table(evaluation: Evaluation, printed: paper.Rows | None = None) -> str:
    """The paper's layout: sources as columns, ACC / AUC in percent, and what they are of; its own
    rows below ours."""
    columns = [name for name in evaluation.sources if name != ALL]
    cells = {name: _cell(evaluation.sources[name].metrics.numbers()) for name in columns}
    cells[AVERAGE] = _cell(evaluation.average)
    cells[ALL] = _cell(evaluation.sources[ALL].metrics.numbers())
    counts = {
        name: f"{evaluation.sources[name].reals:,}+{evaluation.sources[name].fakes:,}"
        for name in (*columns, ALL)
    }
    over = evaluation.averaged
    counts[AVERAGE] = f"of {over['accuracy']} / {over['auc']}"
    ends: dict[str, Mapping[str, str]] = {
        f"{what} 95%": {
            name: _brackets(getattr(evaluation.sources[name], field)) for name in (*columns, ALL)
        }
        for what, field in (("ACC", "accuracy"), ("AUC", "auc"))
    }
    rows: list[tuple[str, Mapping[str, str]]] = [("ours", cells), *ends.items(), ("n", counts)]
    for method, numbers in (printed or {}).items():
        rows.append((f"paper: {method}", {name: str(cell) for name, cell in numbers.items()}))
    widths = {name: max(len(name), 13) for name in cells}
    margin = max(6, *(len(title) for title, _ in rows))
    lines = [f"{'':{margin}}  " + "  ".join(name.rjust(widths[name]) for name in cells)]
    for title, row in rows:
        line = "  ".join(row.get(name, "").rjust(widths[name]) for name in cells)
        lines.append(f"{title:{margin}}  {line}")
    joined = f"; {', '.join(evaluation.reals)} in every column" if evaluation.reals else ""
    lines.append(f"n: reals + generated videos{joined}; {AVERAGE}: over how many sources")
    return "\n".join(lines)


def _brackets(found: Interval) -> str:
    return "-" if math.isnan(found.value) else found.brackets or "too few"


def confusion_text(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Counts and the share of each row: rows are the truth, columns the likeliest class."""
    width = max(12, *(len(name) for name in classes))
    lines = ["is, said".ljust(width) + " ".join(name.rjust(width) for name in classes)]
    for name, row in zip(classes, matrix, strict=True):
        shares = row_shares(row[None])[0]
        cells = (f"{n:,} ({s:.0%})".rjust(width) for n, s in zip(row, shares, strict=True))
        lines.append(name.ljust(width) + " ".join(cells))
    return "\n".join(lines)


def _cell(numbers: Mapping[str, float]) -> str:
    accuracy, auc = numbers["accuracy"], numbers["auc"]
    return f"{100 * accuracy:.1f} / {'  -' if math.isnan(auc) else f'{100 * auc:.1f}'}"
