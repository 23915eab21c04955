"""Where scores go: parts on the way, one file at the end.

Every finished part is a small Parquet file under `OUT.parts/`, written whole or not at all. A run
that was killed skips the parts that are there, so no row is lost or doubled. When all parts are
there they become OUT (Parquet, CSV or JSONL by its suffix) in one rename, and are removed.
"""

import csv
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from extract.running.failures import safe_cell
from features_store.commit import fsync_directory, write_file
from heads.errors import BadSetting

SUFFIXES = (".parquet", ".csv", ".jsonl")


class Output:
    """The parts of one scoring run, and its final file."""

    def __init__(self, out: Path, plan: Mapping[str, object]) -> None:
        """`plan` is all that decides the rows: another one under the same name is refused."""
        if out.suffix not in SUFFIXES:
            raise BadSetting(f"Output {out.name!r}: end it in {', '.join(SUFFIXES)}.")
        self.out = out
        self.folder = out.with_name(f"{out.name}.parts")
        self._plan = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
        self._mark = out.with_name(f".{out.name}.done")

    @property
    def is_done(self) -> bool:
        """The same run has ended, and its file is there."""
        return self.out.exists() and self._mark.exists() and self._mark.read_text() == self._plan

    def begin(self) -> None:
        """Make the folder for parts, or go on with the one that is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = self.folder / "plan"
        if plan.exists() and plan.read_text() != self._plan:
            raise BadSetting(
                f"{self.folder} holds parts of another run: other videos, another bundle or other "
                f"settings. Finish that one, or remove the folder."
            )
        if not plan.exists():
            write_file(plan, [self._plan.encode()])

    def has(self, number: int) -> bool:
        return self._part(number).exists()

    def write(self, number: int, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        write_file(self._part(number), [memoryview(sink.getvalue())])

    def finish(self, parts: int) -> None:
        """All parts into the final file; then they go."""
        draft = self.out.with_name(f".{self.out.name}.partial")
        tables = (pq.read_table(self._part(number)) for number in range(parts))
        {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}[self.out.suffix](draft, tables)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(self.out)
        write_file(self._mark, [self._plan.encode()])
        fsync_directory(self.out.parent)
        shutil.rmtree(self.folder)

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:08}.parquet"


def read_scores(path: Path) -> pa.Table:
    """What `Output` wrote, back as a table."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix == ".jsonl":
        lines = path.read_text().splitlines()
        return pa.Table.from_pylist([json.loads(line) for line in lines])
    with path.open(newline="", encoding="utf-8") as file:
        return pa.Table.from_pylist(list(csv.DictReader(file)))


def _parquet(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _csv(path: Path, tables: Iterator[pa.Table]) -> None:
    """Nothing in it is taken for a formula by a spreadsheet."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, table in enumerate(tables):
            if not number:
                writer.writerow(table.column_names)
            for row in table.to_pylist():
                writer.writerow([_cell(value) for value in row.values()])


def _jsonl(path: Path, tables: Iterator[pa.Table]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for table in tables:
            for row in table.to_pylist():
                file.write(json.dumps({k: _plain(v) for k, v in row.items()}, ensure_ascii=False))
                file.write("\n")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else safe_cell(str(value))


def _plain(value: object) -> object:
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.7g}")
    return value
