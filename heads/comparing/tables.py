"""A comparison as text, CSV and JSON. Everything with how many videos it is of."""

import csv
import io
import math
from collections.abc import Iterator, Mapping

from heads.comparing.comparison import RANDOM, Comparison, Entry
from heads.comparing.layout import METRICS, Layout, Tests
from heads.judging import paper
from heads.judging.evaluation import ALL, AVERAGE
from heads.measuring.intervals import Interval
from heads.measuring.tests import Difference, p_text

_KIB = 2**10
_SAID = {"accuracy": "accuracy", "auc": "AUC"}
NOT_RANKED = "-"


def text(found: Comparison) -> str:
    """For a terminal and a file."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Comparison) -> Iterator[str]:
    judged = found.judged
    seeds = max(len(one.runs) for one in found.entries)
    yield (
        f"{len(found.entries)} detectors on the same videos: {judged.learnt:,} to learn from, "
        f"{judged.decided:,} to decide by, {len(judged.ids):,} {judged.split} videos judged; "
        f"{seeds} seed{'s' if seeds > 1 else ''} each"
    )
    if judged.split != "test":
        yield "careful: there are no test videos; those that are judged chose the epochs too"
    for name, count in judged.lacking.items():
        yield f"left out: {count:,} {judged.split} videos that {name} has no features or result of"
    for layout in found.layouts:
        yield ""
        yield from _table(found, layout)
        yield ""
        yield from _tested(found, layout)
    yield ""
    yield from _floors(found)
    yield ""
    yield from _costs(found)
    for entry in found.entries:
        for one in entry.published:
            yield f"published, {entry.name}: {one.what}: {one.value} ({one.source})"
    for name, why in found.missing.items():
        yield f"not compared, {name}: {why}"


def _table(found: Comparison, layout: Layout) -> Iterator[str]:
    """Rows are detectors, columns generators: accuracy / AUC, and what they are of."""
    ranks, columns = found.ranks(layout), layout.columns
    rows: list[tuple[str, str, Mapping[str, str]]] = [
        ("rank", "", {name: name for name in columns})
    ]
    rows += [
        (
            str(ranks.get(one.name, NOT_RANKED)), titled(one),
            {name: _pair(layout, one.name, name) for name in columns},
        )
        for one in ordered(found, layout)
    ]  # fmt: skip
    counts = {name: "{:,}+{:,}".format(*layout.counts(name)) for name in columns if name != AVERAGE}
    rows.append(("", "real + generated videos", {**counts, AVERAGE: ""}))
    for method, theirs in printed(layout).items():
        rows.append(("", f"paper: {method}", {name: str(cell) for name, cell in theirs.items()}))
    yield f"{layout.title}: accuracy / AUC in percent, means over seeds"
    width = max(len(title) for _, title, _ in rows)
    wide = {name: max(len(cells.get(name, "")) for _, _, cells in rows) for name in columns}
    for rank, title, cells in rows:
        numbers = "  ".join(cells.get(name, "").rjust(wide[name]) for name in columns)
        yield f"{rank:>4}  {title:{width}}  {numbers}".rstrip()
    yield "      rank: by the mean AUC over generators; whether rows differ, the tests below say"
    if layout.sources.reals:
        yield f"      {', '.join(layout.sources.reals)}: reals, in every column"
    for note in paper.notes(len(layout.classes)) if printed(layout) else ():
        yield f"      paper: {note}"


def _tested(found: Comparison, layout: Layout) -> Iterator[str]:
    """Over all videos, with intervals; against the chosen row by paired tests."""
    yield f"{layout.title}, {ALL}, with 95% intervals; against {found.against}, first seeds paired:"
    whys = set()
    for one in ordered(found, layout):
        cells = {metric: layout.cell(one.name, ALL, metric) for metric in METRICS}
        said = "; ".join(f"{_SAID[metric]} {_short(cell)}" for metric, cell in cells.items())
        yield f"  {one.name}{f' ({RANDOM})' if one.random else ''}: {said}"
        whys |= {cell.why for cell in cells.values()}
        if one.name == found.against or one.random:
            continue
        tests = layout.tests(one.name, found.against)
        yield f"    accuracy {_difference(tests.accuracy)}; AUC {_difference(tests.auc)}"
        yield from _over_seeds(tests)
    for why in sorted(whys - {""}):
        yield f"  no interval: {why}"


def _short(one: Interval) -> str:
    """The number with its interval; why there is none is said once, below."""
    return f"{percent_of(one)} {one.brackets or '(no interval)'}, n = {one.n:,}"


def _difference(one: Difference) -> str:
    value, brackets = 100 * one.interval.value, one.interval.brackets
    p = "no test" if math.isnan(one.p) else f"{p_text(one.p)} ({one.test})"
    return f"{value:+.1f}{f' {brackets}' if brackets else ''}, {p}, n = {one.interval.n:,}"


def _over_seeds(tests: Tests) -> Iterator[str]:
    for metric, one in tests.over_seeds.items():
        if not one.why:
            p = "" if math.isnan(one.p) else f", {p_text(one.p)}"
            yield (
                f"    {_SAID[metric]} over videos and {one.seeds} seeds: {one.text('+')}{p}, "
                f"n = {one.videos:,}"
            )


def _floors(found: Comparison) -> Iterator[str]:
    yield f"what a result has to beat (the head is {found.against}):"
    yield from found.floors.lines()
    for one in found.entries:
        if one.reals is not None and one.name != found.against:
            far = one.reals
            yield (
                f"real against real, {one.name}: AUC {far.auc:.3f} for {far.source}, "
                f"p {far.p:.3f}, {far.videos} videos"
            )


def _costs(found: Comparison) -> Iterator[str]:
    yield (
        "cost (bytes of features that a video takes in the store; seconds of the head on this "
        "machine, one measurement a seed; those of the networks: telltale extract --dry-run):"
    )
    width = max(len(one.name) for one in found.entries)
    for one in found.entries:
        yield (
            f"  {one.name:{width}}  {one.cost.cached / _KIB:8.1f} KiB a video, learns in "
            f"{one.cost.learning:.2f} s, {1000 * one.cost.judging:.3f} ms a video"
        )


def ordered(found: Comparison, layout: Layout) -> list[Entry]:
    """By rank; those without one at the end, as they were given."""
    ranks = found.ranks(layout)
    return sorted(found.entries, key=lambda one: ranks.get(one.name, len(found.entries) + 1))


def titled(one: Entry) -> str:
    return f"{one.name} ({', '.join(one.marks)})" if one.marks else one.name


def printed(layout: Layout) -> paper.Rows:
    """The paper's own table in these columns; empty where none of its generators is here."""
    return paper.rows(len(layout.classes), layout.sources.masks, AVERAGE)


def _pair(layout: Layout, row: str, column: str) -> str:
    return " / ".join(percent_of(layout.cell(row, column, metric)) for metric in METRICS)


def percent_of(one: Interval) -> str:
    """A cell, or a dash where there is no such number."""
    return "-" if math.isnan(one.value) else f"{100 * one.value:.1f}"


def csv_text(found: Comparison) -> str:
    """A line for each number; what does not exist is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["classes", "detector", "marks", "rank", "column", "metric", "value", "low", "high", "n",
         "seeds", "real", "generated", "against", "difference", "p", "test"]
    )  # fmt: skip
    for layout in found.layouts:
        ranks = found.ranks(layout)
        for one in found.entries:
            for column in layout.columns:
                counts = ("", "") if column == AVERAGE else layout.counts(column)
                for metric in METRICS:
                    cell = layout.cell(one.name, column, metric)
                    numbers = [_number(value) for value in (cell.value, cell.low, cell.high)]
                    tested = _csv_test(found, layout, one, metric) if column == ALL else [""] * 4
                    writer.writerow(
                        [len(layout.classes), one.name, "; ".join(one.marks),
                         ranks.get(one.name, ""), column, metric, *numbers, cell.n,
                         len(one.runs), *counts, *tested]
                    )  # fmt: skip
    return file.getvalue()


def _csv_test(found: Comparison, layout: Layout, one: Entry, metric: str) -> list[str]:
    if one.name == found.against or one.random:
        return [""] * 4
    test = getattr(layout.tests(one.name, found.against), metric)
    return [found.against, _number(test.interval.value), _number(test.p), test.test]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def document(found: Comparison) -> dict[str, object]:
    """All of it as JSON; `telltale report` reads it."""
    judged = found.judged
    return {
        "against": found.against,
        "videos": {
            "learnt": judged.learnt, "decided": judged.decided, "judged": len(judged.ids),
            "split": judged.split, "left out": dict(judged.lacking),
        },
        "layouts": [_layout_json(found, layout) for layout in found.layouts],
        "floors": found.floors.to_json(),
        "detectors": {one.name: _entry_json(one) for one in found.entries},
        "missing": dict(found.missing),
    }  # fmt: skip


def _layout_json(found: Comparison, layout: Layout) -> dict[str, object]:
    ranks = found.ranks(layout)
    return {
        "title": layout.title,
        "columns": layout.columns,
        "counts": {n: list(layout.counts(n)) for n in layout.columns if n != AVERAGE},
        "rows": {
            one.name: {
                "rank": ranks.get(one.name),
                "cells": {
                    name: {m: layout.cell(one.name, name, m).to_json() for m in METRICS}
                    for name in layout.columns
                },
                "tests": _tests_json(found, layout, one),
            }
            for one in ordered(found, layout)
        },
        "paper": {
            method: {name: [cell.accuracy, cell.auc] for name, cell in cells.items()}
            for method, cells in printed(layout).items()
        },
    }


def _tests_json(found: Comparison, layout: Layout, one: Entry) -> Mapping[str, object]:
    if one.name == found.against or one.random:
        return {}
    tests = layout.tests(one.name, found.against)
    return {"accuracy": tests.accuracy.to_json(), "auc": tests.auc.to_json()}


def _entry_json(one: Entry) -> dict[str, object]:
    return {
        "title": one.title, "head": one.head, "protocol": one.protocol, "marks": list(one.marks),
        "seeds": len(one.runs),
        "cost": {"bytes a video": one.cost.cached, "seconds to learn": one.cost.learning,
                 "seconds a video": one.cost.judging},
        "published": [[each.what, each.value, each.source] for each in one.published],
    }  # fmt: skip
