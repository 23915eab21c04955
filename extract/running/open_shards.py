"""The shards of one branch that are being filled, in memory until they are whole.

A row is done when all its views have come, a shard when all its rows are. What is handed to the
store keeps the rows that were not asked for as they are there.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from extract.running.workload import Rows
from features_store.branch_arrays import BranchArrays
from features_store.schema import Status

Numbers = Mapping[str, NDArray[np.generic]]


@dataclass(slots=True, kw_only=True)
class OpenShard:
    """Results of one shard so far."""

    shard: int
    first: int
    """Its first row."""
    left: int
    """Rows that have still to come."""
    arrays: dict[str, NDArray[np.generic]]
    status: NDArray[np.uint8]
    views_left: NDArray[np.int32]
    errors: dict[int, str] = field(default_factory=dict)


class OpenShards:
    """Collects a branch's results, view by view and in any order."""

    def __init__(self, target: BranchArrays, views: int) -> None:
        self.target = target
        self._views = views
        self._expected: Counter[int] = Counter()
        self._open: dict[int, OpenShard] = {}
        self._whole: list[OpenShard] = []

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of what a row holds."""
        return tuple(self.target.spec.arrays)

    def expect(self, rows: Rows) -> None:
        """Rows that will come; their shards are whole when all of them have."""
        shards, counts = np.unique(rows // self.target.shard_rows, return_counts=True)
        for number, count in zip(shards.tolist(), counts.tolist(), strict=True):
            if number in self._open:
                self._open[number].left += count
            else:
                self._expected[number] += count

    def fill(
        self, row: int, first_view: int, count: int, results: Numbers, unfit: str | None = None
    ) -> str | None:
        """`count` views of a row, or why they cannot be stored. With the last of them the row is
        done; where any could not be stored it fails, and the reason comes back."""
        shard = self._shard(row)
        position = row - shard.first
        if unfit is None:
            for name, views in results.items():
                shard.arrays[name][position, first_view : first_view + count] = views
        else:
            shard.errors.setdefault(position, unfit)
        shard.views_left[position] -= count
        if shard.views_left[position]:
            return None
        reason = shard.errors.get(position)
        if reason is not None:
            for array in shard.arrays.values():
                array[position] = 0
        self._finish(shard, position, Status.OK if reason is None else Status.FAILED)
        return reason

    def put(self, row: int, results: Numbers) -> None:
        """A whole row at once."""
        shard = self._shard(row)
        for name, numbers in results.items():
            shard.arrays[name][row - shard.first] = numbers
        self._finish(shard, row - shard.first, Status.OK)

    def fail(self, row: int, reason: str) -> None:
        shard = self._shard(row)
        shard.errors[row - shard.first] = reason
        self._finish(shard, row - shard.first, Status.FAILED)

    def take_whole(self) -> list[OpenShard]:
        """Shards that have all their rows; they are forgotten here."""
        whole, self._whole = self._whole, []
        return whole

    def take_begun(self) -> list[OpenShard]:
        """Shards with some rows done, when the run ends early."""
        begun = [shard for shard in self._open.values() if shard.status.any()]
        for shard in begun:
            unfinished = shard.status == Status.MISSING
            shard.errors = {k: v for k, v in shard.errors.items() if not unfinished[k]}
        self._open.clear()
        return begun

    def commit(self, shard: OpenShard) -> None:
        self.target.write_shard(shard.shard, shard.arrays, shard.status, shard.errors)

    def _shard(self, row: int) -> OpenShard:
        number = row // self.target.shard_rows
        if number not in self._open:
            rows = self.target.rows(number)
            self._open[number] = OpenShard(
                shard=number,
                first=rows.start,
                left=self._expected.pop(number),
                arrays={
                    name: np.zeros((len(rows), *array.shape), array.dtype)
                    for name, array in self.target.spec.arrays.items()
                },
                status=np.zeros(len(rows), np.uint8),
                views_left=np.full(len(rows), self._views, np.int32),
            )
        return self._open[number]

    def _finish(self, shard: OpenShard, position: int, status: int) -> None:
        shard.status[position] = status
        shard.left -= 1
        if not shard.left:
            self._whole.append(self._open.pop(shard.shard))
