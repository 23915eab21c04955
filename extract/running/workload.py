"""What a run has to do: which videos are still missing in which branch.

Plain arithmetic over the status arrays: a million videos take seconds. Videos are dealt to parts,
devices and machines by blocks, a block being the run of rows in which every branch's shards begin
and end together, so that no two of them write the same shard. Where there are too few blocks for
that, parts of blocks are dealt, and some shards are put together in the store.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadSetting
from extract.manifest.manifest import Video
from features_store.schema import Status

Rows = NDArray[np.int64]

_PIECES_EACH = 8
"""Of what is left, where several processes share the work."""
_SMALLEST_PIECE = 8
"""Parts of a shard are put together in the store, which takes longer than a video or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of `count` equal shares of the work, numbered from 1: `3/8`."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise BadSetting(f"Part {self.number}/{self.count}: give 1/N to N/N.")

    @staticmethod
    def parse(text: str) -> "Part":
        number, slash, count = text.partition("/")
        if not slash or not number.isdecimal() or not count.isdecimal():
            raise BadSetting(f"Part {text!r}: give NUMBER/COUNT, such as 3/8.")
        return Part(number=int(number), count=int(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One branch as far as planning goes."""

    name: str
    status: NDArray[np.uint8]
    """Of every video of the store."""
    shard_rows: int
    row_bytes: int = 0
    """What one video takes in the store."""
    follows: bool = False
    """Filled along with others; no reason to decode a video when nothing else is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Videos to decode, ascending, and who needs them."""

    rows: Rows
    needs: Mapping[str, NDArray[np.bool_]]
    """Per branch, aligned with `rows`."""
    block_rows: int
    asked: int
    """Videos that were asked for, done ones included."""
    failed: int = 0
    """Videos that failed before and are left alone."""

    def __len__(self) -> int:
        return len(self.rows)

    def needed(self, name: str) -> Rows:
        return self.rows[self.needs[name]]

    def part(self, part: Part) -> "Workload":
        """The blocks that belong to one part: dealt in turn, whatever is in them."""
        return self._only(self.rows // self.block_rows % part.count == part.number - 1)

    def pieces(self, processes: int = 1) -> Iterator["Workload"]:
        """What is dealt at a time to so many processes: blocks, and parts of blocks towards the
        end, so that all of them end together."""
        numbers = self.rows // self.block_rows
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, end in itertools.pairwise([*starts, len(self.rows)]):
            first = start
            while first < end:
                most = piece_rows(len(self.rows) - first, processes)
                last = end if most is None else min(first + most, end)
                yield self._only(slice(first, last))
                first = last

    def _only(self, which: NDArray[np.bool_] | slice) -> "Workload":
        needs = {name: needed[which] for name, needed in self.needs.items()}
        return replace(self, rows=self.rows[which], needs=needs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some blocks of a workload with their videos: what is handed to whoever does it."""

    work: Workload
    videos: Sequence[Video]
    """Of `work.rows`, in that order."""


def piece_rows(left: int, processes: int) -> int | None:
    """How many videos are dealt next, at most, where so many are left; None: a whole block.

    A power of two, as are most shards: those of large arrays are not parted.
    """
    if processes == 1:
        return None
    share = left // (processes * _PIECES_EACH)
    return max(_SMALLEST_PIECE, 1 << share.bit_length() >> 1)


def workload(rows: Rows, targets: Sequence[Target], *, retry_failed: bool = False) -> Workload:
    """What is missing of the videos `rows` in each branch."""
    rows = np.unique(rows)
    todo = {}
    failed = np.zeros(len(rows), bool)
    for target in targets:
        status = target.status[rows]
        todo[target.name] = status == Status.MISSING
        if retry_failed:
            todo[target.name] |= status == Status.FAILED
        else:
            failed |= status == Status.FAILED
    anything = np.logical_or.reduce([todo[t.name] for t in targets if not t.follows])
    return Workload(
        rows=rows[anything],
        needs={name: needed[anything] for name, needed in todo.items()},
        block_rows=math.lcm(*(target.shard_rows for target in targets)),
        asked=len(rows),
        failed=int(failed.sum()),
    )
