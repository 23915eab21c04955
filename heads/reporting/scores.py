"""Scores as a report needs them: one column per fact, whatever file they came in.

Only `id` and `verdict` must be there. What else is known is shown; what is not is left out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from heads.errors import BadRun
from heads.measuring.metrics import REAL
from heads.scoring.formats import FORGERY_UNDER, current, json_rows, unguarded
from heads.scoring.rows import FAR, UNSURE

PROBABILITY = "p_"
SUFFIXES = (".parquet", ".csv", ".jsonl")
_TEXTS = (
    "id",
    "path",
    "source",
    "label",
    "verdict",
    "set",
    "flagged",
    "stress",
    "group",
    "nearest_id",
    "nearest_source",
    "worst_part",
    "worst_box",
    "error",
)
_NUMBERS = (
    "confidence",
    "forgery",
    "spread",
    "unlike",
    "nearest_similarity",
    "worst_frame",
    "worst_person",
    "worst_score",
)
_ROUNDING = 1e-4
"""By which single precision may leave 0 to 1."""
TRUE = ("True", "true")
"""How files of every kind say that a row is flagged."""
Column = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What was said about every input."""

    texts: Mapping[str, Sequence[str]]
    """Column → a text per row, empty where there is none."""
    numbers: Mapping[str, Column]
    """Column → a number per row, NaN where there is none."""
    classes: tuple[str, ...]
    known: NDArray[np.bool_] | None = None
    """Rows that the bundle learnt from or was decided by; None where that cannot be told."""

    def __len__(self) -> int:
        return len(self.texts["id"])

    @cached_property
    def verdicts(self) -> NDArray[np.int64]:
        """Class of the verdict; -1 where it is none of them (unsure, or failed)."""
        return _codes(self.texts["verdict"], self.classes)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class of the label, -1 where it is not known."""
        return _codes(self.texts.get("label", [""] * len(self)), self.classes)

    @cached_property
    def probabilities(self) -> Column:
        """(n, C)"""
        if not self.classes:
            return np.empty((len(self), 0))
        return np.stack([self.numbers[f"{PROBABILITY}{name}"] for name in self.classes], 1)

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        """Rows that have every probability."""
        if not self.classes:
            return np.zeros(len(self), bool)
        return np.asarray(~np.isnan(self.probabilities).any(axis=1), bool)

    @cached_property
    def judged(self) -> NDArray[np.bool_]:
        """Rows that were scored, whose truth is known, and which were new to the bundle."""
        found = self.scored & (self.labels >= 0)
        return found if self.known is None else found & ~self.known

    @cached_property
    def confidence(self) -> Column:
        """As it was written, else the largest probability."""
        if "confidence" in self.numbers:
            return self.numbers["confidence"]
        best = np.full(len(self), np.nan)
        best[self.scored] = self.probabilities[self.scored].max(1, initial=0.0)
        return best

    @cached_property
    def forgery(self) -> Column:
        """As it was written, else what is not real; NaN where neither is known."""
        if "forgery" in self.numbers:
            return self.numbers["forgery"]
        real = self.numbers.get(f"{PROBABILITY}{REAL}")
        return np.full(len(self), np.nan) if real is None else 1 - real

    @cached_property
    def shaken(self) -> NDArray[np.bool_]:
        """Rows whose verdict does not outlast what happens to videos on their way."""
        return np.array([s.startswith(UNSURE) for s in self.texts.get("stress", ())], bool)

    @cached_property
    def strange(self) -> NDArray[np.bool_]:
        """Rows like nothing that was learnt."""
        return self.numbers.get("unlike", np.zeros(len(self))) >= FAR

    @cached_property
    def copies(self) -> Column:
        """How many rows look like copies of each, itself included; 0 where none does."""
        groups = self.texts.get("group", [""] * len(self))
        sizes = Counter(groups)
        return np.array([sizes[name] if name else 0 for name in groups], np.float64)

    @cached_property
    def failed(self) -> NDArray[np.bool_]:
        return np.array([bool(why) for why in self.texts.get("error", [""] * len(self))], bool)


def read_scores(path: Path) -> Scores:
    """From Parquet, CSV or JSONL, by suffix."""
    try:
        found = _READERS[path.suffix](path)
    except (pa.ArrowException, OSError, ValueError, AttributeError, RecursionError) as error:
        raise BadRun(f"{path} cannot be read as scores: {error}") from error
    missing = [name for name in ("id", "verdict") if name not in found.column_names]
    if missing:
        raise BadRun(
            f"{path} has no column {' and no '.join(missing)}; it has "
            f"{', '.join(found.column_names[:12])}. Scores come from `telltale score --out`."
        )
    names = found.column_names
    classes = tuple(n.removeprefix(PROBABILITY) for n in names if n.startswith(PROBABILITY))
    under = (n for n in names if n.startswith(FORGERY_UNDER))
    numbers = (*_NUMBERS, *(f"{PROBABILITY}{name}" for name in classes), *under)
    try:
        scores = Scores(
            texts={n: _texts(found.column(n), path.suffix) for n in _TEXTS if n in names},
            numbers={n: _numbers(found.column(n)) for n in numbers if n in names},
            classes=classes,
        )
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise BadRun(f"{path} has a column of another kind than scores have: {error}") from error
    if ((scores.probabilities < -_ROUNDING) | (scores.probabilities > 1 + _ROUNDING)).any():
        raise BadRun(f"{path} has probabilities outside 0 to 1; was it written by something else?")
    return scores


def _read_csv(path: Path) -> pa.Table:
    options = csv.ConvertOptions(
        column_types={name: pa.string() for name in _TEXTS}, null_values=["", "nan", "NaN"]
    )
    return csv.read_csv(
        path, convert_options=options, parse_options=csv.ParseOptions(newlines_in_values=True)
    )


def _read_json(path: Path) -> pa.Table:
    """By hand: Arrow's reader takes names that look like dates for dates."""
    found = list(json_rows(path))
    rows = [found[place] for place in current(found)]
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _read_parquet(path: Path) -> pa.Table:
    return parquet.read_table(path, partitioning=None)


_READERS: Mapping[str, Any] = {
    ".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_json
}  # fmt: skip


def _texts(column: pa.ChunkedArray, suffix: str) -> list[str]:
    found = []
    for value in column.to_pylist():
        if isinstance(value, list):
            value = "|".join(map(str, value))
        said = "" if value is None else str(value)
        if suffix == ".csv":
            said = unguarded(said)
        found.append(said)
    return found


def _numbers(column: pa.ChunkedArray) -> Column:
    found = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(found), found, np.nan)


def _codes(names: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places.get(name, -1) for name in names], np.int64)
