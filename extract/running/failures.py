"""Videos that cannot be used: when they are too many, and the list for a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from extract.errors import TooManyFailures
from extract.running.progress import Progress
from extract.running.summary import grouped
from features_store.branch_arrays import BranchArrays
from features_store.commit import write_file
from features_store.errors import OutputExists
from features_store.outputs import check_place

FAILURES_COUNT_FROM = 100
_HEADER = b"id,reason\n"


def check_failures(progress: Progress, max_failed: float) -> None:
    """Stop a run in which so many videos fail that something else must be wrong.

    A video that fails under one protocol of several does not count: the others are not to pay.
    """
    failed = sum(failure.whole for failure in progress.failures)
    done = len(progress.failures) + progress.ok
    if done >= FAILURES_COUNT_FROM and failed > max_failed * done:
        reasons = "; ".join(f"{n} times: {text}" for text, n in grouped(progress.failures)[:3])
        raise TooManyFailures(
            f"{failed} of the first {done} videos failed, more than {max_failed:.0%} "
            f"(--max-failed): {reasons}. What is done is kept. When the cause is "
            f"removed, go on with the same command and --retry-failed."
        )


def failure_reasons(targets: Iterable[BranchArrays], rows: Iterable[int]) -> dict[int, str]:
    """Row → why it failed, in any of the branches, among these rows."""
    wanted = np.array(sorted(rows), np.int64)
    found: dict[int, str] = {}
    for arrays in targets:
        found |= arrays.errors(wanted)
    return dict(sorted(found.items()))


def check_failures_file(path: Path) -> None:
    """Refuse a place that cannot be written, or that holds anything but an earlier list."""
    check_place(path)
    if path.exists():
        with path.open("rb") as file:
            first = file.readline(len(_HEADER) + 1)
        if first != _HEADER:
            raise OutputExists(
                f"{path} is there, and is no list of failed videos. Choose another name for the "
                f"list: --failures FILE."
            )


def write_failures(path: Path, reasons: Mapping[str, str]) -> None:
    """Video id → reason, as a CSV; nothing in it is taken for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([safe_cell(id_), safe_cell(reason)] for id_, reason in reasons.items())
    write_file(path, [_HEADER, text.getvalue().encode(errors="backslashreplace")])


def safe_cell(text: str) -> str:
    """Spreadsheets run what begins with one of these; a quote in front keeps it text."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
