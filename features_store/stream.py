"""Features that do not fit in memory, batch by batch, read ahead by threads.

The order of all videos is decided first, so that every row has its place in a batch before it is
read, and is copied there once, straight from the mapped file, while its checksum is taken. The
unit of reading is a span: the videos of one shard of the branch with the shortest shards. `hold`
spans at most are in memory, beside the batch that is being put together and the one in use.
"""

import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from features_store.chunks import Array, Piece
from features_store.errors import BadInput
from features_store.loading import empty
from features_store.selection import Selection
from features_store.table import Table

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
    """Its inverse: where in the order a position is."""

    def done(self, read: int) -> int:
        """How many spans are in windows that were read whole."""
        return read if read == len(self.spans) else read - read % self.window


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a stream goes through its videos."""

    batch: int | None = None
    """Videos in a table; None for as many as a span has. The last may have fewer."""
    shuffle: int | None = None
    """A seed: spans are read in random order, and the videos of `hold // 2` of them are mixed."""
    hold: int = 4
    """Spans in memory."""
    memory: int | None = None
    """Bytes that they may take: as many spans as fit, in place of `hold`."""
    part: tuple[int, int] = (0, 1)
    """(k, n): this is part k of n. The parts of one order share out its videos, span by span."""

    def __post_init__(self) -> None:
        if self.hold < 2:
            raise BadInput(f"hold {self.hold}: give at least 2 spans, to use and to read ahead.")
        if self.batch is not None and self.batch < 1:
            raise BadInput(
                f"batch {self.batch}: give 1 or more, or None for as many as a span has."
            )
        mine, parts = self.part
        if not 0 <= mine < parts:
            raise BadInput(f"part {self.part}: give (k, n) with k from 0 to n - 1.")


def stream(selection: Selection, order: Order, *, verify: bool) -> Iterator[Table]:
    """Tables of a selection's videos. Each stays what it was for as long as it is kept."""
    spans = _spans(selection)
    size = order.batch or max(len(span) for span in spans)
    order = replace(order, hold=_held(selection, spans, order))
    plan = _plan(spans, order)
    return _batches(selection, plan, _Buffers(selection, size), order.hold, verify=verify)


def _held(selection: Selection, spans: list[Array], order: Order) -> int:
    """How many spans are in memory."""
    if order.memory is None:
        return order.hold
    span = max(len(span) for span in spans) * _row_bytes(selection)
    if order.memory < 2 * span:
        raise BadInput(
            f"memory {order.memory:,}: a span of this takes {span:,} bytes; give at least two of "
            f"them, to use and to read ahead."
        )
    return order.memory // span


def _row_bytes(selection: Selection) -> int:
    return sum(array.nbytes for array in empty(selection, 1).values())


def stated_bytes(selection: Selection, batch: int, hold: int) -> int:
    """Memory that a stream takes at most.

    `hold` spans, a batch begun at either end and one in use; and the files being read, which are
    mapped and count while they are.
    """
    longest = max(len(span) for span in _spans(selection))
    mapped = [
        sum(array.chunk_bytes for array in branch.stored(name).values())
        for branch, name in selection.branches.values()
    ]
    return (hold * longest + 3 * batch) * _row_bytes(selection) + _READERS * max(mapped)


def _spans(selection: Selection) -> list[Array]:
    size = min(branch.shard_rows for branch, _ in selection.branches.values())
    shards = selection.table.rows // size
    return np.split(np.arange(len(shards)), np.flatnonzero(np.diff(shards)) + 1)


def _plan(spans: list[Array], order: Order) -> _Plan:
    mine, parts = order.part
    if order.shuffle is None:
        spans = spans[mine::parts]
        given = np.concatenate([np.empty(0, np.int64), *spans])
        return _Plan(spans=spans, window=1, order=given, place=_inverse(given))
    random = np.random.default_rng(order.shuffle)
    spans = [spans[i] for i in random.permutation(len(spans))][mine::parts]
    window = order.hold // 2
    starts = range(0, len(spans), window)
    windows = [np.concatenate(spans[start : start + window]) for start in starts]
    given = np.concatenate([np.empty(0, np.int64), *(random.permutation(w) for w in windows)])
    return _Plan(spans=spans, window=window, order=given, place=_inverse(given))


def _inverse(order: Array) -> Array:
    """Where in the order a position is."""
    inverse = np.zeros(order.max(initial=-1) + 1, np.int64)
    inverse[order] = np.arange(len(order))
    return inverse


def _batches(
    selection: Selection, plan: _Plan, buffers: "_Buffers", hold: int, *, verify: bool
) -> Iterator[Table]:
    until = np.cumsum([0, *(len(span) for span in plan.spans)]).tolist()  # videos before a span
    given = 0  # videos
    asked = 0  # spans
    under_way: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="telltale-read") as pool:
        try:
            for read in range(len(plan.spans)):
                for span in plan.spans[asked : plan.done(read) + hold]:
                    places = plan.place[span]
                    buffers.prepare(np.unique(places // buffers.size).tolist())
                    job = pool.submit(_read, selection, span, places, buffers, verify=verify)
                    under_way.append(job)
                    asked += 1
                under_way.popleft().result()
                ready = until[plan.done(read + 1)]
                while given < ready:
                    positions = plan.order[given : given + buffers.size]
                    if given + len(positions) > ready:
                        break
                    arrays = buffers.take_out(given // buffers.size, len(positions))
                    given += len(positions)
                    yield replace(selection.table.take(positions), arrays=arrays)
                    del arrays  # else this would hold on to them until the next are there
        finally:
            for job in under_way:
                job.cancel()


def _read(
    selection: Selection, span: Array, places: Array, buffers: "_Buffers", *, verify: bool
) -> None:
    rows = selection.table.rows[span]
    for key, (branch, name) in selection.branches.items():
        shards = rows // branch.shard_rows
        for shard in np.unique(shards).tolist():
            mine = shards == shard
            local = rows[mine] - shard * branch.shard_rows
            pieces = list(_pieces(key, local, places[mine], buffers))
            branch.copy_rows(name, shard, pieces, verify=verify)


def _pieces(key: str, rows: Array, places: Array, buffers: "_Buffers") -> Iterator[Piece]:
    """Runs of consecutive rows that go to consecutive places of one batch."""
    breaks = (np.diff(rows) != 1) | (np.diff(places) != 1) | (places[1:] % buffers.size == 0)
    for run in np.split(np.arange(len(rows)), np.flatnonzero(breaks) + 1):
        batch, start = divmod(int(places[run[0]]), buffers.size)
        out = buffers.under_way[batch][key][start : start + len(run)]
        yield Piece(first=int(rows[run[0]]), out=out)


class _Buffers:
    """Memory for batches, used again once nobody holds on to it.

    An array that is given out, and every view and tensor made of it, holds on to an array that
    stands for the memory without owning it. When the last of them is gone, that array is, and the
    memory is free.
    """

    def __init__(self, selection: Selection, size: int) -> None:
        self.size = size
        self.under_way: dict[int, Arrays] = {}
        self._free: dict[str, deque[Array]] = {key: deque() for key in selection.branches}
        self._like = empty(selection, 0)

    def prepare(self, batches: list[int]) -> None:
        """Have memory for these batches, to be filled by several threads."""
        for batch in batches:
            if batch not in self.under_way:
                self.under_way[batch] = {key: self._lend(key) for key in self._like}

    def take_out(self, batch: int, count: int) -> Arrays:
        arrays = self.under_way.pop(batch)
        return {key: array[:count] for key, array in arrays.items()}

    def _lend(self, key: str) -> Array:
        like, free = self._like[key], self._free[key]
        owner = free.popleft() if free else _allocate((self.size, *like.shape[1:]), like.dtype)
        # NumPy lets views hold on to the nearest array that owns memory or that stands on
        # something else than an array; a memoryview is something else.
        lent = np.frombuffer(owner.data.cast("B"), like.dtype).reshape(owner.shape)
        standing: Array = lent.base if isinstance(lent.base, np.ndarray) else lent
        weakref.finalize(standing, free.append, owner).atexit = False
        return lent


def _allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return np.empty(shape, dtype)
