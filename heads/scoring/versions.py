"""Which file an input is now: a row is of one version of a file, and of no other."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from heads.scoring.rows import Inputs, Version

_LOOKS_AT_ONCE = 16
"""A network disk answers many questions at a time."""
_SECOND = 10**9


def versions(paths: Sequence[str]) -> list[Version]:
    """Size and time of each file, as they are now."""
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as threads:
        return list(threads.map(version, paths, chunksize=64))


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
    return [key(name, which) for name, which in zip(inputs.ids, inputs.versions, strict=True)]


def digest(*columns: Iterable[str | bytes]) -> str:
    """Of columns of texts, in order; where one text ends matters."""
    found = hashlib.sha256()
    for column in columns:
        texts = [text.encode() if isinstance(text, str) else text for text in column]
        found.update(json.dumps([len(text) for text in texts]).encode())
        found.update(b"".join(texts))
    return found.hexdigest()
