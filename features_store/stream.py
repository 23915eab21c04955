"""Features that do not fit in memory, batch by batch, read ahead by threads.

The unit of reading is a span: the videos of one shard of the branch with the shortest shards. At
most `hold` spans are in memory, whatever the store's size. Buffers are used again only when
nobody holds on to them, so a batch that is kept stays what it was (and costs its memory).
"""

import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from features_store.chunks import Array
from features_store.errors import BadInput
from features_store.table import Selection, Table, empty

_READERS = 2


def stream(
    selection: Selection, *, batch: int | None, shuffle: int | None, hold: int, verify: bool
) -> Iterator[Table]:
    """Tables of `batch` videos each.

    In order, batches do not cross spans, so the last one of a span may be smaller; `batch=None`
    gives whole spans. With `shuffle` (a seed) the spans come in random order and the videos of
    `hold // 2` spans at a time are mixed; then only the very last batch may be smaller.
    """
    if hold < 3:
        raise BadInput(
            f"hold {hold}: give at least 3 spans: one in use, one just used, one being read."
        )
    if batch is not None and batch < 1:
        raise BadInput(f"batch {batch}: give 1 or more, or None for whole spans.")
    spans = _spans(selection)
    reader = _Reader(selection, max(len(span) for span in spans), hold, verify=verify)
    if shuffle is None:
        return _in_order(selection, spans, batch, reader)
    return _shuffled(selection, spans, batch, shuffle, reader)


def span_bytes(selection: Selection) -> int:
    """Memory that one span takes; a stream holds `hold` of them, and one batch when shuffled."""
    longest = max(len(span) for span in _spans(selection))
    return sum(array.nbytes for array in empty(selection, longest).values())


def _spans(selection: Selection) -> list[Array]:
    """Positions in the table, cut where the branch with the shortest shards is cut."""
    size = min(branch.shard_rows for branch, _ in selection.branches.values())
    shards = selection.table.rows // size
    return np.split(np.arange(len(shards)), np.flatnonzero(np.diff(shards)) + 1)


class _Buffers:
    """Room for rows, used again once nobody holds on to it."""

    def __init__(self, selection: Selection, length: int, limit: int) -> None:
        self.selection = selection
        self.length = length
        self.limit = limit
        self._made: list[dict[str, Array]] = []

    def take(self, count: int) -> dict[str, Array]:
        free = (b for b in self._made if all(_unused(array) for array in b.values()))
        buffer = next(free, None)
        if buffer is None:
            buffer = empty(self.selection, self.length)
            if len(self._made) < self.limit:  # more only where the caller keeps what it got
                self._made.append(buffer)
        return {key: array[:count] for key, array in buffer.items()}


# References to a free buffer's array: its dict, the loop variable above, the argument of this
# function and that of getrefcount. Were it fewer, buffers would be made anew: slower, not wrong.
_REFERENCES_WHEN_FREE = 4


def _unused(array: Array) -> bool:
    return sys.getrefcount(array) <= _REFERENCES_WHEN_FREE


class _Reader:
    """Reads spans ahead."""

    def __init__(self, selection: Selection, longest: int, hold: int, *, verify: bool) -> None:
        self.selection = selection
        self.hold = hold
        self.verify = verify
        self._buffers = _Buffers(selection, longest, hold)

    def read(self, spans: list[Array], ahead: int) -> Iterator[dict[str, Array]]:
        """The spans' arrays, with `ahead` of them under way."""
        with ThreadPoolExecutor(_READERS, thread_name_prefix="telltale-read") as pool:
            under_way: deque[Future[dict[str, Array]]] = deque()
            try:
                for span in spans:
                    room = self._buffers.take(len(span))
                    under_way.append(pool.submit(self._fill, span, room))
                    del room
                    if len(under_way) > ahead:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                for job in under_way:
                    job.cancel()

    def _fill(self, span: Array, room: dict[str, Array]) -> dict[str, Array]:
        rows = self.selection.table.rows[span]
        for key, (branch, name) in self.selection.branches.items():
            branch.read_rows(name, rows, room[key], verify=self.verify)
        return room


def _in_order(
    selection: Selection, spans: list[Array], batch: int | None, reader: _Reader
) -> Iterator[Table]:
    # The span that the caller had last is still held by its loop variable when the next is read.
    for span, arrays in zip(spans, reader.read(spans, reader.hold - 2), strict=True):
        size = batch or len(span)
        for start in range(0, len(span), size):
            part = {key: array[start : start + size] for key, array in arrays.items()}
            yield _with_arrays(selection.table, span[start : start + size], part)


def _shuffled(
    selection: Selection, spans: list[Array], batch: int | None, seed: int, reader: _Reader
) -> Iterator[Table]:
    random = np.random.default_rng(seed)
    order = [spans[i] for i in random.permutation(len(spans))]
    window = reader.hold // 2
    size = batch or max(len(span) for span in spans)
    read = reader.read(order, reader.hold - window)
    gathered = _Batch(selection, size)
    for start in range(0, len(order), window):
        mixed = order[start : start + window]
        arrays: list[dict[str, Array]] = []  # lets the last window go before the next is read
        arrays += [next(read) for _ in mixed]
        places = [(which, row) for which, span in enumerate(mixed) for row in range(len(span))]
        for place in random.permutation(len(places)).tolist():
            which, row = places[place]
            gathered.add(mixed[which][row], arrays[which], row)
            if gathered.full:
                yield gathered.take()
    if gathered.count:
        yield gathered.take()


class _Batch:
    """Rows copied together from several spans."""

    def __init__(self, selection: Selection, size: int) -> None:
        self.selection = selection
        self.size = size
        self.count = 0
        self._buffers = _Buffers(selection, size, limit=2)  # this batch, and the caller's last
        self._room: dict[str, Array] = {}
        self._positions = np.empty(size, np.int64)

    @property
    def full(self) -> bool:
        return self.count == self.size

    def add(self, position: int, arrays: dict[str, Array], row: int) -> None:
        if not self.count:
            self._room = self._buffers.take(self.size)
        for key, array in arrays.items():
            self._room[key][self.count] = array[row]
        self._positions[self.count] = position
        self.count += 1

    def take(self) -> Table:
        part = {key: array[: self.count] for key, array in self._room.items()}
        positions = self._positions[: self.count].copy()
        self._room, self.count = {}, 0
        return _with_arrays(self.selection.table, positions, part)


def _with_arrays(table: Table, positions: Array, arrays: dict[str, Array]) -> Table:
    return replace(table.take(positions), arrays=arrays)
