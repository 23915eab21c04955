"""Results as they lie in `benchmarks/results/`: every format that was ever written, read as one.

A file that is none of them is an error: a figure that is left out in silence is a false page.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from features_store.errors import TelltaleError

Document = Mapping[str, object]
Row = Mapping[str, object]

QUICK = "_quick"
"""Ends the theme of a trial run, which says nothing about speed."""
_FIELDS = ("theme", "date", "commit", "machine", "rows")
_RATIO = re.compile(r"(?:(\w+) against|(?:share )?of(?! it\b)) (.+)")
_DECODE_CASE = re.compile(r"(\S+)/(\d+ cores?)")
_DECODE_WAYS = ("bare", "clips", "clips+depth", "released")


class BadResult(TelltaleError):
    """A file among the results that is not a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured line."""

    name: str
    numbers: Mapping[str, float]
    """Unit → value, without the ratios."""
    ratios: Mapping[str, float]
    """`speed against BASELINE` and the like → ratio."""

    @property
    def measured(self) -> str:
        return ", ".join(f"{short(number)} {unit}" for unit, number in self.numbers.items())

    @property
    def baseline(self) -> str:
        return "; ".join(_ratio_parts(name)[1] for name in self.ratios)

    @property
    def ratio(self) -> str:
        told = ((_ratio_parts(name)[0], number) for name, number in self.ratios.items())
        return "; ".join(f"{what} {short(number)}".strip() for what, number in told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of one benchmark on one machine."""

    theme: str
    machine: str
    """`cpu2`: two CPU cores; `h200`: that GPU."""
    date: str
    commit: str
    figures: Sequence[Figure]

    @property
    def on_gpu(self) -> bool:
        return not self.machine.startswith("cpu")

    def figure(self, start: str) -> Figure | None:
        """The first figure whose name starts so."""
        return next((each for each in self.figures if each.name.startswith(start)), None)


def short(value: float) -> str:
    """Three digits; no exponent where the number is large."""
    return f"{value:,.0f}" if 100 <= value < math.inf else f"{value:.3g}"


def newest(folder: Path) -> list[Result]:
    """The last result of every theme and machine, in order of their names."""
    found: dict[tuple[str, str], Result] = {}
    for path in sorted(folder.glob("*.json")):
        result = read(path)
        known = found.get((result.theme, result.machine))
        if not result.theme.endswith(QUICK) and (known is None or known.date <= result.date):
            found[result.theme, result.machine] = result
    return [found[key] for key in sorted(found)]


def read(path: Path) -> Result:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadResult(f"{path} cannot be read as JSON: {error}. {_WHAT_TO_DO}") from error
    if isinstance(document, dict) and document.get("benchmark") == "decode":
        document = _from_first_decode(document, path)
    lacking = [name for name in _FIELDS if not isinstance(document, dict) or name not in document]
    if lacking or not isinstance(document["rows"], list):
        raise BadResult(
            f"{path} is no benchmark result: {', '.join(lacking) or 'a list of rows'} missing. "
            f"{_WHAT_TO_DO}"
        )
    theme, date, commit, machine = (str(document[name]) for name in _FIELDS[:4])
    figures = [_figure(row, path) for row in document["rows"]]
    return Result(theme=theme, machine=machine, date=date, commit=commit, figures=figures)


_WHAT_TO_DO = (
    "Results have theme, date, commit, machine and rows, as benchmarks/measure.py writes them; "
    "run the benchmark again, or take the file out of the folder."
)


def _figure(row: object, path: Path) -> Figure:
    """Texts name a figure, numbers are what was measured."""
    if not isinstance(row, dict) or not isinstance(row.get("what"), str):
        raise BadResult(f"{path} has a row without 'what': {str(row)[:80]}. {_WHAT_TO_DO}")
    texts = [value for value in row.values() if isinstance(value, str)]
    numbers = {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
    return Figure(
        name=", ".join(texts),
        numbers={name: value for name, value in numbers.items() if not _RATIO.fullmatch(name)},
        ratios={name: value for name, value in numbers.items() if _RATIO.fullmatch(name)},
    )


def _ratio_parts(name: str) -> tuple[str, str]:
    """`speed against memmap` → speed, memmap."""
    found = _RATIO.fullmatch(name)
    assert found is not None
    return found[1] or "", found[2]


def _from_first_decode(document: Document, path: Path) -> Document:
    """The decoding benchmark's own format: a mapping of rates for each protocol and core count.
    Its `machine` is prose; the file's name has the short one."""
    rows: list[Row] = []
    try:
        machine = path.stem.split("_")[1]
        for case, rates in document.items():
            found = _DECODE_CASE.fullmatch(case)
            if found and isinstance(rates, dict):
                rows += _decode_rows(f"{found[1]}, {found[2]}", rates)
    except (IndexError, KeyError) as error:
        raise BadResult(
            f"{path} lacks a decoding rate or a machine: {error}. {_WHAT_TO_DO}"
        ) from error
    return {
        "theme": "decode", "machine": machine, "commit": "not recorded", "rows": rows,
        "date": document.get("date", "not recorded"),
    }  # fmt: skip


def _decode_rows(case: str, rates: Mapping[str, float]) -> Iterable[Row]:
    for way in _DECODE_WAYS:
        row: dict[str, object] = {"what": f"{case}: {way}", "videos/s": rates[way]}
        if way == "clips":
            row["speed against released"] = rates["clips_vs_released"]
        if way == "clips+depth":
            row["of bare"] = 1 / rates["bare_vs_clips+depth"]
        yield row
