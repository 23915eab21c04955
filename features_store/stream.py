"""Features that do not fit in memory, batch by batch, read ahead by threads.

The order of all videos is decided first, so that every row has its place in a batch before it is
read, and is copied there once, straight from the mapped file, while its checksum is taken. The
unit of reading is a span: the videos of one shard of the branch with the shortest shards. `hold`
spans at most are in memory, beside the batch that is being put together and the one in use.
"""

import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from features_store.chunks import Array, Piece
from features_store.errors import BadInput
from features_store.table import Selection, Table, empty

Arrays: TypeAlias = dict[str, Array]

_READERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Which row is read when, and where it goes. A position is a row of the selection's table."""

    spans: list[Array]
    """Positions that are read together, in the order of reading."""
    window: int
    """So many spans are mixed with each other; their videos can be given out once all are read."""
    order: Array
    """(n) positions, in the order in which they are given out."""
    place: Array
    """(n) its inverse: where in the order a position is."""

    def done(self, read: int) -> int:
        """How many spans are in windows that were read whole."""
        return read if read == len(self.spans) else read - read % self.window


def stream(
    selection: Selection, *, batch: int | None, shuffle: int | None, hold: int, verify: bool
) -> Iterator[Table]:
    """Tables of `batch` videos each (by default as many as a span has); the last may be smaller.

    With `shuffle` (a seed) spans are read in random order, and the videos of `hold // 2` spans at
    a time are mixed. A batch stays what it was for as long as it is kept.
    """
    if hold < 2:
        raise BadInput(f"hold {hold}: give at least 2 spans, one to use and one to read ahead.")
    if batch is not None and batch < 1:
        raise BadInput(f"batch {batch}: give 1 or more, or None for as many as a span has.")
    spans = _spans(selection)
    size = batch or max(len(span) for span in spans)
    plan = _plan(spans, shuffle, 1 if shuffle is None else hold // 2)
    return _batches(selection, plan, _Rooms(selection, size), hold, verify=verify)


def stated_bytes(selection: Selection, batch: int, hold: int) -> int:
    """Memory that a stream takes at most.

    `hold` spans, a batch begun at either end and one in use; and the files being read, which are
    mapped and count while they are.
    """
    longest = max(len(span) for span in _spans(selection))
    row = sum(array.nbytes for array in empty(selection, 1).values())
    mapped = [
        sum(array.chunk_bytes for array in branch.stored(name).values())
        for branch, name in selection.branches.values()
    ]
    return (hold * longest + 3 * batch) * row + _READERS * max(mapped)


def _spans(selection: Selection) -> list[Array]:
    size = min(branch.shard_rows for branch, _ in selection.branches.values())
    shards = selection.table.rows // size
    return np.split(np.arange(len(shards)), np.flatnonzero(np.diff(shards)) + 1)


def _plan(spans: list[Array], seed: int | None, window: int) -> _Plan:
    order = np.concatenate(spans)
    if seed is not None:
        random = np.random.default_rng(seed)
        spans = [spans[i] for i in random.permutation(len(spans))]
        starts = range(0, len(spans), window)
        windows = [np.concatenate(spans[start : start + window]) for start in starts]
        order = np.concatenate([random.permutation(mixed) for mixed in windows])
    return _Plan(spans=spans, window=window, order=order, place=np.argsort(order))


def _batches(
    selection: Selection, plan: _Plan, rooms: "_Rooms", hold: int, *, verify: bool
) -> Iterator[Table]:
    ready = given = 0  # videos that could be given out, and were
    asked = 0  # spans
    under_way: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="telltale-read") as pool:
        try:
            for read in range(len(plan.spans)):
                for span in plan.spans[asked : plan.done(read) + hold]:
                    places = plan.place[span]
                    rooms.prepare(np.unique(places // rooms.size).tolist())
                    job = pool.submit(_read, selection, span, places, rooms, verify=verify)
                    under_way.append(job)
                    asked += 1
                under_way.popleft().result()
                ready = sum(len(span) for span in plan.spans[: plan.done(read + 1)])
                while given < ready:
                    positions = plan.order[given : given + rooms.size]
                    if given + len(positions) > ready:
                        break
                    arrays = rooms.take_out(given // rooms.size, len(positions))
                    given += len(positions)
                    yield replace(selection.table.take(positions), arrays=arrays)
                    del arrays
        finally:
            for job in under_way:
                job.cancel()


def _read(
    selection: Selection, span: Array, places: Array, rooms: "_Rooms", *, verify: bool
) -> None:
    rows = selection.table.rows[span]
    for key, (branch, name) in selection.branches.items():
        shards = rows // branch.shard_rows
        for shard in np.unique(shards).tolist():
            mine = shards == shard
            local = rows[mine] - shard * branch.shard_rows
            pieces = list(_pieces(key, local, places[mine], rooms))
            branch.copy_rows(name, shard, pieces, verify=verify)


def _pieces(key: str, rows: Array, places: Array, rooms: "_Rooms") -> Iterator[Piece]:
    """Runs of consecutive rows that go to consecutive places of one batch."""
    breaks = (np.diff(rows) != 1) | (np.diff(places) != 1) | (places[1:] % rooms.size == 0)
    for run in np.split(np.arange(len(rows)), np.flatnonzero(breaks) + 1):
        batch, start = divmod(int(places[run[0]]), rooms.size)
        room = rooms.under_way[batch][key]
        yield Piece(first=int(rows[run[0]]), out=room[start : start + len(run)])


class _Rooms:
    """Memory for batches, used again once nobody holds on to it."""

    def __init__(self, selection: Selection, size: int) -> None:
        self.selection = selection
        self.size = size
        self.under_way: dict[int, Arrays] = {}
        self._made: list[Arrays] = []
        self._most = 0

    def prepare(self, batches: list[int]) -> None:
        """Have room for these batches, to be filled by several threads."""
        for batch in batches:
            if batch not in self.under_way:
                self.under_way[batch] = self._free_room()
        self._most = max(self._most, len(self.under_way))

    def take_out(self, batch: int, count: int) -> Arrays:
        room = self.under_way.pop(batch)
        return {key: array[:count] for key, array in room.items()}

    def _free_room(self) -> Arrays:
        free = (room for room in self._made if all(_unused(array) for array in room.values()))
        room = next(free, None)
        if room is None:
            room = empty(self.selection, self.size)
            if len(self._made) <= self._most + 1:  # more only where the caller keeps batches
                self._made.append(room)
        return {key: array[:] for key, array in room.items()}


# References to the array of a room that nobody holds: its dict, the loop variable above, the
# argument of this function and that of getrefcount. Were it fewer, rooms would be made anew:
# slower, not wrong.
_REFERENCES_WHEN_FREE = 4


def _unused(array: Array) -> bool:
    return sys.getrefcount(array) <= _REFERENCES_WHEN_FREE
