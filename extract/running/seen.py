"""Which file a row's numbers were made from, so that a file that changed since is noticed.

For every video that was decoded the store keeps the file's size, the time it was last changed, and
a hash of its whole content (BLAKE2b, 16 bytes), in a group of its own beside the branches. A later
run looks at size and time, which costs no reading; where the size is the same and the time is not,
the content decides. Not noticed: a file replaced by one of the same size that carries the old
file's time.

The columns frames, fps, width, height and digest of the videos table are filled from here and from
the facts when a run ends.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from extract.decoding.containers import DIGEST_BYTES, digest_of
from extract.decoding.info import VideoInfo
from extract.running.open_shards import Numbers
from extract.running.workload import Rows
from features_store import facts
from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.schema import ArraySpec, BranchSpec, Status, fingerprint
from features_store.store import Store

NAME = "file"
_COLUMNS = ("frames", "fps", "width", "height", "digest")
"""Of the videos table."""
_THREADS = 16
"""A network disk or an object store answers many questions at a time."""
_SHARDS_AT_ONCE = 64
_PATHS_AT_ONCE = 1024


def spec() -> BranchSpec:
    """The same for every protocol and every video."""
    decides = {"digest": f"blake2b-{8 * DIGEST_BYTES} of the whole file", "revision": 1}
    return BranchSpec(
        name=NAME,
        preset="seen",
        fingerprint=fingerprint(decides),
        arrays={
            "size": ArraySpec(shape=(1,), dtype="int64"),
            "modified": ArraySpec(shape=(1,), dtype="int64"),
            "digest": ArraySpec(shape=(DIGEST_BYTES,), dtype="uint8"),
        },
        provenance=decides,
    )


def is_seen(group: str) -> bool:
    return group == spec().group


def encode(info: VideoInfo) -> Numbers:
    """A row of each array."""
    return {
        "size": np.array([info.file_bytes], np.int64),
        "modified": np.array([info.modified], np.int64),
        "digest": np.frombuffer(bytes.fromhex(info.digest), np.uint8),
    }


def changed(arrays: BranchArrays, rows: Rows, paths: Sequence[str]) -> Rows:
    """Those of the rows whose files are not what they were; a file that is gone has not changed."""
    size, modified = np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.int64)
    content = np.zeros((len(rows), DIGEST_BYTES), np.uint8)
    for positions, parts in _ok_rows(arrays, rows):
        size[positions], modified[positions] = parts["size"][:, 0], parts["modified"][:, 0]
        content[positions] = parts["digest"]

    def differing(positions: NDArray[np.intp]) -> list[int]:
        return [
            p for p in positions.tolist() if _differs(paths[p], size[p], modified[p], content[p])
        ]

    known = np.flatnonzero(size >= 0)
    pieces = np.array_split(known, -(-len(known) // _PATHS_AT_ONCE) or 1)
    with ThreadPoolExecutor(_THREADS) as threads:
        return rows[[position for part in threads.map(differing, pieces) for position in part]]


def _differs(path: str, size: int, modified: int, content: NDArray[np.uint8]) -> bool:
    try:
        now = os.stat(path)  # noqa: PTH116, a million of them
        if now.st_size != size or now.st_mtime_ns == modified:
            return bool(now.st_size != size)
        return digest_of(path) != content.tobytes().hex()
    except OSError:
        return False


def fill_videos(store: Store, protocol: str, rows: Rows) -> None:
    """Write what was seen of these rows' files into the videos table."""
    files, known = (store.open_branch(protocol, s.group) for s in (spec(), facts.spec()))
    table = {name: np.array(store.videos.column(name)[rows]) for name in _COLUMNS}
    found: list[int] = []
    for positions, parts in _ok_rows(known, rows):
        for name, column in zip(facts.NUMBERS, parts["numbers"].T, strict=True):
            if name in table:
                table[name][positions] = column
        found += positions.tolist()
    for positions, parts in _ok_rows(files, rows):
        table["digest"][positions] = [digest.tobytes().hex() for digest in parts["digest"]]
        found += positions.tolist()
    if found:
        which = np.unique(found)
        store.videos.note(rows[which], {name: values[which] for name, values in table.items()})


def _ok_rows(arrays: BranchArrays, rows: Rows) -> Iterator[tuple[Rows, Mapping[str, Array]]]:
    """Shard by shard: positions in `rows` that are OK, and their rows of each array."""
    ok = np.flatnonzero(arrays.status(rows) == Status.OK)
    if not len(ok):
        return
    numbers = rows[ok] // arrays.shard_rows
    order = np.argsort(numbers, kind="stable")
    shards, starts = np.unique(numbers[order], return_index=True)
    by_shard = list(zip(shards.tolist(), np.split(ok[order], starts[1:]), strict=True))
    with ThreadPoolExecutor(_THREADS) as threads:
        for first in range(0, len(shards), _SHARDS_AT_ONCE):
            few = by_shard[first : first + _SHARDS_AT_ONCE]
            contents = threads.map(arrays.read_shard, [shard for shard, _ in few])
            for (shard, positions), content in zip(few, contents, strict=True):
                inside = rows[positions] - shard * arrays.shard_rows
                # Another run may just have taken it back.
                still = content.status[inside] == Status.OK
                parts = {name: part[inside[still]] for name, part in content.parts.items()}
                if still.any():
                    yield positions[still], parts
