"""Committing a shard so that no kill and no other writer can lose or mix rows.

A commit reads the shard's record, writes the data chunks, and puts the new record last: that is
the commit. Rows that are OK stay; new ones are added to them in whole chunks. Any number of
writers may be at it:

- In a folder one writer at a time holds the shard's lock.
- On an object store everything is replaced on condition that it is still what was read. First the
  writer puts a record that says that it has begun, which makes every writer that has read the one
  before start over; then its data, which fails where another's data have come meanwhile; then the
  final record, which fails where another has begun.

Before chunks of a committed shard are replaced, its record is made to name the new ones beside the
old: both hold the rows that it calls OK. So a writer that is killed in between loses nothing, and a
reader finds a whole shard at any moment. Rows that are about to change are MISSING meanwhile, but
for those that failed and fail again.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from features_store import shard_content
from features_store.chunks import Array, ChunkedArray, Encoded
from features_store.errors import Damaged, Overtaken, WriteFailed
from features_store.place.begun import Begun, patiently
from features_store.place.place import Buffers, Version, exclusively
from features_store.record import Record
from features_store.schema import Status
from features_store.shard_content import ShardContent
from features_store.shard_files import ERROR, ShardFiles
from features_store.threads import side_by_side

AT_ONCE = 4
"""Chunks of a shard that are written side by side, in a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One chunk that is replaced, and what was there when the writer looked."""

    array: ChunkedArray
    encoded: Encoded
    seen: Version


def write(files: ShardFiles, shard: int, new: ShardContent) -> None:
    """Commit the rows of `new` that are not MISSING; those that are OK in the store stay."""
    _require_records(files)
    exclusively(files.place, files.records.lock(shard), lambda: _write(files, shard, new))


def forget(files: ShardFiles, shard: int, rows: Array | None = None) -> None:
    """Mark a shard missing, or of its rows those at these positions."""

    def mark() -> None:
        try:
            record, version = files.head(shard)
        except Damaged:
            record, version = files.records.empty(), files.place.version(files.records.key(shard))
        status = record.status.copy()
        status[slice(None) if rows is None else rows] = Status.MISSING
        _put(files, shard, _final(files, record, status, {}), version)

    exclusively(files.place, files.records.lock(shard), mark)


def forget_damaged(files: ShardFiles, shard: int, damaged: Callable[[], list[str]]) -> None:
    """Mark a shard missing where chunks of it are still damaged once no other writer is at it."""

    def mark() -> None:
        version = files.place.version(files.records.key(shard))
        keys = damaged()
        if not keys:
            return
        if files.place.locks:  # a folder in the place of a file would stay in its way
            files.place.delete(*keys)
        _put(files, shard, files.records.empty(), version)

    exclusively(files.place, files.records.lock(shard), mark)


def _write(files: ShardFiles, shard: int, new: ShardContent) -> None:
    record, version = _head(files, shard)
    written = np.flatnonzero(record.status)
    # Another process may have added videos and written them.
    rows = max(len(new.status), int(written[-1]) + 1 if len(written) else 0)
    new, before = shard_content.lengthened(new, rows), record.status[:rows]
    take = shard_content.taken(new.status, before)
    if not take.any():
        return
    try:
        changes = _changes(files, shard, record, new, take)
    except Damaged as damage:
        if files.place.version(files.records.key(shard)) == version or files.place.locks:
            raise
        raise Overtaken(f"{damage.place}: it was being replaced.") from damage
    status = np.where(take, new.status, before).astype(np.uint8)
    final = _final(files, record, status, changes)
    if _says_the_same(record, final):
        return
    again = (before == Status.FAILED) & (new.status == Status.FAILED)  # a reason stands in either
    begun = _begun(files, record, np.where(take & ~again, Status.MISSING, before), changes)
    word = Begun(files.place, files.records.key(shard), lambda w: _encoded(files, shard, begun, w))
    with word.since(version) if _has_to_begin(files, record, begun) else nullcontext():
        _swap_all(files, shard, list(changes.values()))
    _put(files, shard, final, word.version)


def _swap_all(files: ShardFiles, shard: int, changes: Sequence[_Change]) -> None:
    """Write the chunks. In a folder side by side, since each waits for the disk, and the shard's
    lock is held; on an object store one after another, so that of two writers one goes on."""

    def swap(change: _Change) -> None:
        files.place.swap(change.array.key(shard), change.encoded.buffers, change.seen)

    side_by_side(swap, changes, AT_ONCE if files.place.locks else 1)


def _require_records(files: ShardFiles) -> None:
    if not (files.layout.records or files.place.locks):
        raise WriteFailed(
            f"{files.place.name} is a store of format 1, which only a folder can keep two writers "
            f"of apart. Copy it to a folder and go on there, or `telltale store export` it and "
            f"import the file into a new store."
        )


def _head(files: ShardFiles, shard: int) -> tuple[Record, Version]:
    """The shard's record; where another writer has begun, it is given time to finish."""

    def look() -> tuple[Record, str, Version]:
        record, version = files.head(shard)
        return record, record.writer, version

    return patiently(files.place, look)


def _changes(
    files: ShardFiles, shard: int, record: Record, new: ShardContent, take: Array
) -> dict[str, _Change]:
    """The chunks that have to be written, by array."""
    before = record.status[: len(take)]
    ok, kept = take & (new.status == Status.OK), before == Status.OK
    changes: dict[str, _Change] = {}
    for name, array in files.parts().items() if ok.any() else ():
        rows, seen = new.parts[name], None
        if kept.any():
            stored, seen = _stored(array, shard, record, name)
            rows = shard_content.merged_rows(rows, ok, stored, kept)
        else:
            seen = files.place.version(array.key(shard))
        changes[name] = _Change(array=array, encoded=array.encode(rows), seen=seen)
    failing = take & (new.status == Status.FAILED)
    still = ~take & (before == Status.FAILED)
    if failing.any() or (still.any() and (take & (before == Status.FAILED)).any()):
        texts, seen = _texts(files, shard, record, new, (failing, still))
        changes[ERROR] = _Change(array=files.error, encoded=files.error.encode(texts), seen=seen)
    return changes


def _texts(
    files: ShardFiles, shard: int, record: Record, new: ShardContent, which: tuple[Array, Array]
) -> tuple[Array, Version]:
    """Reasons of the rows that fail now and of those that still do."""
    failing, still = which
    texts = np.full(len(failing), "", object)
    if new.errors is not None:
        texts[failing] = new.errors[failing]
    if not still.any():
        return texts, files.place.version(files.error.key(shard))
    stored, seen = _stored(files.error, shard, record, ERROR)
    texts[still] = stored[: len(texts)][still]
    return texts, seen


def _stored(array: ChunkedArray, shard: int, record: Record, name: str) -> tuple[Array, Version]:
    """A committed chunk and its version. The version is taken first: should the chunk be replaced
    in between, writing over it fails."""
    version = array.place.version(array.key(shard))
    return array.read(shard, record.named(name)), version


def _has_to_begin(files: ShardFiles, record: Record, begun: Record) -> bool:
    if not files.place.locks:
        return True
    if files.layout.records:
        return bool(record.status.any())
    return not np.array_equal(record.status, begun.status)


def _begun(files: ShardFiles, record: Record, status: Array, changes: dict[str, _Change]) -> Record:
    """What stands while chunks are being replaced: either of two may be found."""
    padded = _padded(status, files.rows)
    if record.chunks is None:
        return replace(record, status=padded)
    chunks = dict(record.chunks)
    for name, change in changes.items():
        chunks[name] = chunks.get(name, frozenset()) | {change.encoded.crc}
    return Record(status=padded, chunks=chunks)


def _final(files: ShardFiles, record: Record, status: Array, changes: dict[str, _Change]) -> Record:
    padded = _padded(status, files.rows)
    if record.chunks is None:
        return Record(status=padded, chunks=None)
    chunks = {
        name: frozenset({changes[name].encoded.crc})
        if name in changes
        else record.chunks.get(name, frozenset())
        for name in files.needed(padded)
    }
    return Record(status=padded, chunks=chunks)


def _says_the_same(record: Record, final: Record) -> bool:
    """Rows that failed before fail again, for the same reasons: there is nothing to write."""
    named = record.chunks is not None and not record.writer
    return named and record.chunks == final.chunks and np.array_equal(record.status, final.status)


def _padded(status: Array, rows: int) -> Array:
    padded = np.zeros(rows, np.uint8)
    padded[: len(status)] = status
    return padded


def _encoded(files: ShardFiles, shard: int, record: Record, writer: str) -> Buffers:
    return [files.records.encode(shard, replace(record, writer=writer))]


def _put(files: ShardFiles, shard: int, record: Record, seen: Version) -> Version:
    return files.place.swap(files.records.key(shard), [files.records.encode(shard, record)], seen)
