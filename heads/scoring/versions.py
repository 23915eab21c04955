"""Which file an input is now: a row is of one version of a file, and of no other."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice

import pyarrow as pa

from heads.scoring.rows import Inputs, Version

COLUMNS = pa.schema([("size", pa.int64()), ("modified", pa.string())])
_LOOKS_AT_ONCE = 16
"""A network disk answers many questions at a time."""
_PATHS_AT_ONCE = 1024
_SECOND = 10**9


def versions(paths: Iterable[str]) -> pa.Table:
    """Size and time of each file, as they are now."""
    rest = iter(paths)
    pieces = iter(lambda: list(islice(rest, _PATHS_AT_ONCE)), [])
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as threads:
        return pa.Table.from_batches(threads.map(_looked_at, pieces), COLUMNS).combine_chunks()


def _looked_at(paths: list[str]) -> pa.RecordBatch:
    columns = zip(*map(version, paths), strict=True)
    return pa.record_batch([*map(list, columns)], COLUMNS)


def version(path: str) -> Version:
    try:
        found = os.stat(path)  # noqa: PTH116, a name may be any bytes
    except (OSError, ValueError):
        return None, None
    return found.st_size, moment(found.st_mtime_ns)


def moment(nanoseconds: int) -> str:
    """A time in full, as ISO 8601 has it."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def key(video_id: str, which: Version) -> bytes:
    """One video in one version, in 16 bytes."""
    text = json.dumps([video_id, *which])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def keys(inputs: Inputs) -> list[bytes]:
    assert inputs.versions is not None
    each = zip(inputs.ids, _rows(inputs.versions), strict=True)
    return [key(name, which) for name, which in each]


def _rows(found: pa.Table) -> Iterator[Version]:
    for batch in found.to_batches(_PATHS_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def digest(*columns: Iterable[str | bytes]) -> str:
    """Of columns of texts, in order; where one text ends matters."""
    found = hashlib.sha256()
    for column in columns:
        texts = [text.encode() if isinstance(text, str) else text for text in column]
        found.update(json.dumps([len(text) for text in texts]).encode())
        found.update(b"".join(texts))
    return found.hexdigest()
