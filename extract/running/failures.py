"""The list of videos that cannot be used, for people with a spreadsheet."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from features_store.branch_arrays import BranchArrays


def failure_reasons(targets: Iterable[BranchArrays], rows: Iterable[int]) -> dict[int, str]:
    """Row → why it failed, in any of the branches, among these rows."""
    wanted = np.array(sorted(rows), np.int64)
    found: dict[int, str] = {}
    for arrays in targets:
        found |= arrays.errors(wanted)
    return dict(sorted(found.items()))


def write_failures(path: Path, reasons: Mapping[str, str]) -> None:
    """Video id → reason, as a CSV; nothing in it is taken for a formula."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "reason"])
        writer.writerows([safe_cell(id_), safe_cell(reason)] for id_, reason in reasons.items())


def safe_cell(text: str) -> str:
    """Spreadsheets run what begins with one of these; a quote in front keeps it text."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
