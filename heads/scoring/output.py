"""Where scores go: parts on the way, one file at the end.

What is finished on the way lies in `OUT.parts/RUN/`, where RUN is the hash of all that decides a
row (bundle, protocol, settings, …), so rows of two runs never meet; each part is a small Parquet
file, named after its very rows, written whole or not at all. At the end they become OUT (Parquet,
CSV or JSON lines by its suffix) in one rename. A run that was killed at any point goes on with the
parts that are there; a run whose inputs changed since takes over the rows that still hold, from the
parts or from OUT itself.
"""

import contextlib
import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features_store.claim import claimed
from features_store.commit import make_directory, write_file
from features_store.outputs import Product, plain
from heads.errors import BadRun, BadSetting
from heads.scoring.formats import (
    ABOUT,
    COUNTS,
    SUFFIXES,
    Block,
    Counts,
    current,
    read_blocks,
    write_blocks,
)

FORMAT = 3
"""Raised when rows or parts mean something else than before."""
DURABLE_AFTER = 5.0
"""Seconds of work that a kill may cost; rows of a store are held in memory so long."""
_INPUTS = "inputs"
_EARLIER = "earlier"
_GONE = ".gone-"
_BEGUN = ".begun.json"
_WHICH = ["id", "path", "size", "modified"]
"""Columns by which a row is told from an earlier one of the same video."""


class Output:
    """The parts of one scoring run, and its final file."""

    def __init__(
        self,
        out: Path,
        plan: Mapping[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        """`plan` is all that decides a row beside its input; `about` is told to readers."""
        if out.suffix not in SUFFIXES:
            raise BadSetting(f"Output {out.name!r}: end it in {', '.join(SUFFIXES)}.")
        self.out = out
        self.overwrites = overwrite
        self._plan = plain({"format": FORMAT, **plan})
        self._about = dict(about or {})
        self.note = str(self._about.get("note", ""))
        """What everybody has to know who reads the scores."""
        beside = [] if out.suffix == ".parquet" else [about_file(out)]
        self._product = Product(out, "score", overwrite=overwrite, beside=beside)
        self._product.check(self._plan, may_differ=[_INPUTS])
        self._run = hashlib.sha256(json.dumps(self._plan, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = out.with_name(f"{out.name}.parts") / self._run
        self._held: dict[str, Block] = {}
        self._durable = time.monotonic()

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Nobody else writes it meanwhile; what is done so far outlives an error."""
        with claimed(self.out):
            try:
                yield
            finally:
                self._flush()

    def is_done(self, inputs: str) -> bool:
        """The same run has ended over the same inputs, and its file is there as it was made."""
        return self._product.check({**self._plan, _INPUTS: inputs}, may_differ=[_INPUTS])

    def counts(self) -> Counts:
        """What the file that is there holds. Parts that a kill at the end left go."""
        if self.folder.parent.is_dir():
            self._remove()
        return Counts.from_json(read_about(self.out))

    def begin(self) -> None:
        """Make the folder for parts, or go on in the one that is there."""
        make_directory(self.folder)
        self._sweep()

    def take_over(self) -> None:
        """Rows of the file that an earlier run of this plan made become parts again."""
        found = self._product.found
        if found is None or not self.out.exists() or not self._product.is_newest:
            return
        if {name: value for name, value in found.made_from.items() if name != _INPUTS} != dict(
            self._plan
        ):
            return
        for number, block in enumerate(read_blocks(self.out)):
            self._write(f"{_EARLIER}-{number:08}", block)

    def parts(self) -> list[str]:
        """Names of the parts that are there; those of an earlier run's file come first."""
        found = sorted(path.stem for path in self.folder.glob("*.parquet"))
        return sorted([*found, *self._held], key=lambda name: (not name.startswith(_EARLIER), name))

    def has(self, name: str) -> bool:
        return name in self._held or self._part(name).exists()

    def read(self, name: str, columns: Sequence[str] | None = None) -> Block:
        if name in self._held:
            held = self._held[name]
            return held if columns is None else held.select(columns)
        try:
            return pq.read_table(self._part(name), columns=columns, partitioning=None)
        except (pa.ArrowException, OSError) as error:
            raise BadRun(
                f"{self._part(name)} cannot be read ({error}); remove it, and the same command "
                f"makes it again."
            ) from error

    def write(self, name: str, block: Block) -> None:
        """A part, durable at once."""
        self._write(name, block)
        (self.folder / f"{name}{_BEGUN}").unlink(missing_ok=True)

    def hold(self, name: str, block: Block) -> None:
        """A part that may be computed again: durable within a few seconds of work."""
        self._held[name] = block
        if time.monotonic() - self._durable >= DURABLE_AFTER:
            self._flush()

    def mark_begun(self, name: str, inputs: object) -> None:
        """What a part will be of, before its features are computed."""
        write_file(self.folder / f"{name}{_BEGUN}", [json.dumps(inputs).encode()])

    def begun(self) -> dict[str, Any]:
        """Parts that were begun and are not there yet."""
        found = {
            path.name.removesuffix(_BEGUN): json.loads(path.read_bytes())
            for path in sorted(self.folder.glob(f"*{_BEGUN}"))
        }
        return {name: inputs for name, inputs in found.items() if not self.has(name)}

    def finish(self, blocks: Iterator[Block], expected: int, inputs: str) -> Counts:
        """All rows into the final file; then the parts go."""
        draft = self.folder / f"draft{self.out.suffix}"
        about = {**self._about, _INPUTS: inputs}
        counts = write_blocks(draft, blocks, about)
        if counts.rows != expected:
            raise BadRun(
                f"{self.out}: {counts.rows} rows for {expected} inputs; nothing was replaced. "
                f"Remove {self.folder} and run the same command again."
            )
        drafts = [draft]
        if self.out.suffix != ".parquet":
            drafts.append(self.folder / "draft.about.json")
            write_file(drafts[1], [about_text({**about, **counts.to_json()})])
        self._product.publish(drafts, {**self._plan, _INPUTS: inputs})
        self._held.clear()
        self._remove()
        return counts

    def _remove(self) -> None:
        """Renamed first: what is half removed is never gone on with."""
        if self.folder.is_dir():
            self.folder.rename(self.folder.parent / f"{_GONE}{self._run}-{secrets.token_hex(4)}")
        self._sweep()
        with contextlib.suppress(OSError):  # parts of other runs are theirs
            self.folder.parent.rmdir()

    def _sweep(self) -> None:
        for gone in self.folder.parent.glob(f"{_GONE}*"):
            shutil.rmtree(gone, ignore_errors=True)

    def _flush(self) -> None:
        for name in list(self._held):
            if self.folder.is_dir():
                self._write(name, self._held[name])
            del self._held[name]
        self._durable = time.monotonic()

    def _write(self, name: str, block: Block) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(block, sink, compression="zstd")
        write_file(self._part(name), [memoryview(sink.getvalue())])

    def _part(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"


def about_file(out: Path) -> Path:
    """Beside a CSV or JSON lines: what made the scores, and what came of it."""
    return out.with_name(f"{out.name}.about.json")


def about_text(about: Mapping[str, Any]) -> bytes:
    """What stands in it."""
    return f"{json.dumps(about, indent=1, ensure_ascii=False)}\n".encode()


def read_about(out: Path) -> dict[str, Any]:
    """What a file of scores says of itself."""
    if out.suffix != ".parquet":
        found: dict[str, Any] = json.loads(about_file(out).read_bytes())
        return found
    metadata = pq.read_metadata(out)
    schema = metadata.schema.to_arrow_schema().metadata or {}
    whole = metadata.metadata or {}
    about: dict[str, Any] = json.loads(schema.get(ABOUT.encode(), b"{}"))
    counts: dict[str, Any] = json.loads(whole.get(COUNTS.encode(), b"{}"))
    return about | counts


def read_scores(path: Path) -> Block:
    """What `Output` wrote, back as a table; of what a watch appended, the rows that count."""
    table = pa.concat_tables(list(read_blocks(path)), promote_options="default")
    if path.suffix != ".jsonl":
        return table
    return table.take(pa.array(current(table.select(_WHICH).to_pylist()), pa.int64()))
