"""Scores as Parquet, CSV or JSON lines: written and read block by block, so memory stays flat.

All three give back exactly what was written. In a CSV, cells that a spreadsheet would take for a
formula have a quote in front. In JSON lines nothing but "\\n" ends a line: what other programs take
for the end of one (U+0085, U+2028, U+2029) is escaped.
"""

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from heads.scoring.rows import WORST_PART, schema

SUFFIXES = (".parquet", ".csv", ".jsonl")
ABOUT = "telltale"
"""Key of the Parquet schema's metadata that says what made the scores."""
COUNTS = "telltale.counts"
"""Key of the Parquet file's metadata that says what came of it."""
FORGERY_UNDER = "forgery_"
"""How a column begins that says the same of a damaged video."""
GUARDED = r"^'*[=+\-@\t\r]"
"""Spreadsheets run what begins like this; a quote in front keeps it text."""
_UNGUARD = (r"^'('*[=+\-@\t\r])", r"\1")
_BREAKS = str.maketrans({char: f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"})
_NEVER_NULL = ("id", "path", "source", "label")
"""Where nothing is known they are empty, which a CSV does not tell from null."""
_READ_ROWS = 16_384
Block: TypeAlias = pa.Table


@dataclass(slots=True)
class Counts:
    """What came of a run, counted while rows are written."""

    rows: int = 0
    failed: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)

    def add(self, block: Block) -> None:
        self.rows += len(block)
        if "error" in block.column_names:
            self.failed += len(block) - block["error"].null_count
        if "verdict" in block.column_names:
            for each in pc.value_counts(block["verdict"].drop_null()).to_pylist():
                self.verdicts[str(each["values"])] += each["counts"]

    def to_json(self) -> dict[str, Any]:
        rate = self.failed / self.rows if self.rows else 0.0
        return {
            "rows": self.rows,
            "failed": self.failed,
            "error rate": rate,
            "verdicts": dict(sorted(self.verdicts.items())),
        }

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> "Counts":
        return Counts(found["rows"], found["failed"], Counter(found["verdicts"]))

    def __str__(self) -> str:
        listed = ", ".join(f"{name} {count}" for name, count in sorted(self.verdicts.items()))
        return f"{self.rows} rows; {listed or 'none scored'}; {self.failed} failed"


def write_blocks(path: Path, blocks: Iterator[Block], about: Mapping[str, Any]) -> Counts:
    """All blocks into a new file, flushed to the disk. Its name does not matter; suffix does."""
    counts = Counts()

    def counted() -> Iterator[Block]:
        for block in blocks:
            counts.add(block)
            yield block

    with path.open("wb") as file:
        _WRITERS[path.suffix](file, counted(), about, counts)
        file.flush()
        os.fsync(file.fileno())
    return counts


def read_blocks(path: Path) -> Iterator[Block]:
    """The rows of a file that `write_blocks` made."""
    return _READERS[path.suffix](path)


def guarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """No cell is taken for a formula."""
    if not pc.any(pc.match_substring_regex(column, GUARDED)).as_py():
        return column
    found = pc.match_substring_regex(column, GUARDED)
    return pc.if_else(found, pc.binary_join_element_wise("'", column, ""), column)


def unguarded(text: str) -> str:
    """The reverse, for one cell."""
    return re.sub(*_UNGUARD, text)


def json_line(row: Mapping[str, Any]) -> str:
    """One row of JSON lines."""
    return json.dumps(row, ensure_ascii=False).translate(_BREAKS) + "\n"


def plain_rows(block: Block) -> list[dict[str, Any]]:
    """Rows as Python has them; numbers as short as they are exact."""
    for place, item in enumerate(block.schema):
        if pa.types.is_float32(item.type):
            column = block[item.name]
            column = pc.if_else(pc.is_nan(column), None, column)
            short = column.cast(pa.string()).cast(pa.float64())
            block = block.set_column(place, item.name, short)
    rows: list[dict[str, Any]] = block.to_pylist()
    return rows


def _write_parquet(
    file: BinaryIO, blocks: Iterator[Block], about: Mapping[str, Any], counts: Counts
) -> None:
    first = next(blocks)
    schema = first.schema.with_metadata({ABOUT: json.dumps(about)})
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        writer.write_table(first.cast(schema))
        for block in blocks:
            writer.write_table(block.cast(schema))
        writer.add_key_value_metadata({COUNTS: json.dumps(counts.to_json())})


def _write_csv(file: BinaryIO, blocks: Iterator[Block], _: object, __: object) -> None:
    for number, block in enumerate(blocks):
        if not number:
            header = io.StringIO()
            csv.writer(header, lineterminator="\n").writerow(block.column_names)
            file.write(header.getvalue().encode())
        for place, item in enumerate(block.schema):
            if pa.types.is_string(item.type):
                block = block.set_column(place, item.name, guarded(block[item.name]))
        options = pyarrow.csv.WriteOptions(
            include_header=False, quoting_style="needed" if _has_structure(block) else "none"
        )
        pyarrow.csv.write_csv(block, file, options)


def _has_structure(block: Block) -> bool:
    """Whether a cell has a comma, a quote or a line's end in it."""
    return any(
        pc.any(pc.match_substring_regex(block[item.name], '[,"\r\n]')).as_py()
        for item in block.schema
        if pa.types.is_string(item.type)
    )


def _write_jsonl(file: BinaryIO, blocks: Iterator[Block], _: object, __: object) -> None:
    for block in blocks:
        for start in range(0, len(block), _READ_ROWS):
            rows = plain_rows(block.slice(start, _READ_ROWS))
            file.write("".join(map(json_line, rows)).encode())


def _read_parquet(path: Path) -> Iterator[Block]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_READ_ROWS):
            yield pa.Table.from_batches([batch]).replace_schema_metadata()


def _read_csv(path: Path) -> Iterator[Block]:
    with path.open(newline="", encoding="utf-8") as file:
        names = next(csv.reader(file), [])
    options = pyarrow.csv.ConvertOptions(
        column_types=dict(_types(names)), null_values=[""], strings_can_be_null=True
    )
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with pyarrow.csv.open_csv(path, convert_options=options, parse_options=parsing) as reader:
        for batch in reader:
            block = pa.Table.from_batches([batch])
            for place, item in enumerate(block.schema):
                if pa.types.is_string(item.type):
                    plain = pc.replace_substring_regex(block[item.name], *_UNGUARD)
                    plain = plain.fill_null("") if item.name in _NEVER_NULL else plain
                    block = block.set_column(place, item.name, plain)
            yield block


def _read_jsonl(path: Path) -> Iterator[Block]:
    rows: list[dict[str, Any]] = []
    for row in json_rows(path):
        rows.append(row)
        if len(rows) == _READ_ROWS:
            yield _table(rows)
            rows = []
    if rows:
        yield _table(rows)


def json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Line by line; only "\\n" ends a line."""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def current(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Places of the lines that count where a watch appended them: of a file those of its last
    version, so that no segment of an earlier one is left, and of a row the last."""
    versions = {row.get("path"): _version(row) for row in rows}
    last = {
        row.get("id", place): place
        for place, row in enumerate(rows)
        if _version(row) == versions[row.get("path")]
    }
    return sorted(last.values())


def _version(row: Mapping[str, Any]) -> tuple[object, object]:
    return row.get("size"), row.get("modified")


def _table(rows: Sequence[Mapping[str, Any]]) -> Block:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table(
        {name: pa.array([row.get(name) for row in rows], kind) for name, kind in _types(names)}
    )


def _types(names: Sequence[str] | Mapping[str, Any]) -> Iterator[tuple[str, pa.DataType]]:
    """As `rows` makes them; columns that it does not know are texts."""
    known = pa.schema([*schema([name[2:] for name in names if name.startswith("p_")]), *WORST_PART])
    for name in names:
        kind = pa.float32() if name.startswith(FORGERY_UNDER) else pa.string()
        yield name, known.field(name).type if name in known.names else kind


_WRITERS: Mapping[str, Callable[..., None]] = {
    ".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_jsonl
}  # fmt: skip
_READERS: Mapping[str, Callable[[Path], Iterator[Block]]] = {
    ".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_jsonl
}  # fmt: skip
