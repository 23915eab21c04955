"""A folder of short clips from many places, and `clips.csv`, which says what each of them is.

Columns: file, label (`real` or `generated`), generator, source_repo, pair, split; any others are
left alone. A generated clip's source is its generator, a real one's the place that it is from.
Clips of one place, and of one pair (the same footage, real and generated), are one group.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from extract.manifest.rows import Row, Source

TABLE = "clips.csv"
COLUMNS = ("file", "label", "generator", "source_repo", "pair", "split")
_LABELS = {"real": "real", "generated": "forgery"}


def read_clips(source: Source, place: Path, version: str) -> None:
    """Rows of such a folder, or of its table."""
    del version
    path = place / TABLE if place.is_dir() else place
    if not path.is_file():
        source.problems.append(f"no {TABLE} in it")
        return
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        rows = list(reader)
    lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if lacking:
        source.problems.append(f"{path.name}: no column {', '.join(lacking)}")
        return
    groups = _groups(rows)
    for line, row in enumerate(rows, start=2):
        where, label = f"{path.name}:{line}", _LABELS.get(row["label"])
        if label is None:
            source.problems.append(f"{where}: label {row['label']!r}; give real or generated")
            continue
        source.rows.append(
            Row(
                where=where, folder=os.fspath(path.parent), file=row["file"], label=label,
                source=row["generator"] or row["source_repo"], split=row["split"],
                group=groups[row["source_repo"]],
            )
        )  # fmt: skip


def _groups(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Place → group: places that share a pair are together."""
    of = {row["source_repo"]: row["source_repo"] for row in rows}
    first: dict[str, str] = {}
    for row in filter(lambda row: row["pair"], rows):
        kept, joined = of[first.setdefault(row["pair"], row["source_repo"])], of[row["source_repo"]]
        of = {place: kept if group == joined else group for place, group in of.items()}
    return of
