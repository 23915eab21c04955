"""One branch at work: views of many videos gathered into full batches, results dealt back.

The device runs in threads of its own, so that the caller goes on gathering. A fixed number of
staging buffers bounds the memory.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.branch import Branch
from extract.errors import ExtractError
from extract.running.batching import CPU_BATCH, Batcher
from extract.running.clock import Clock
from extract.running.device import Device, Result
from extract.running.open_shards import OpenShards
from extract.running.summary import Failure

if TYPE_CHECKING:
    from concurrent.futures import Future

STAGING_BYTES = 256 * 2**20
"""Of one batch; more is not faster, and three of them are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Views of one video that lie together in a batch."""

    row: int
    video: str
    first_view: int
    start: int
    count: int


@dataclass(slots=True, kw_only=True)
class Batch:
    """A staging buffer and whose views are in it."""

    views: Tensor
    filled: int = 0
    segments: list[Segment] = field(default_factory=list)


def staging_bytes(branch: Branch) -> int:
    """At most, for all of a lane's buffers."""
    if branch.device.type == "cuda":
        return 4 * max(STAGING_BYTES, branch.prepare.nbytes(1))
    return 3 * branch.prepare.nbytes(CPU_BATCH)


class Lane:
    """Views in, rows of open shards out. Used by one thread."""

    def __init__(
        self, batcher: Batcher, shards: Sequence[OpenShards], device: Device, clock: Clock
    ) -> None:
        """`shards` of the groups that together hold what the batcher's branch gives."""
        self.branch = batcher.branch
        self.shards = shards
        self._device = device
        self._batcher = batcher
        self._clock = clock
        prepare = self.branch.prepare
        self.capacity = max(1, min(batcher.size, STAGING_BYTES // prepare.nbytes(1)))
        self._shape = (self.capacity, *prepare.shape)
        self._free: list[Batch] = []
        self._failures: list[Failure] = []
        self._batch: Batch | None = None
        self._flying: deque[tuple[Batch, Future[Result]]] = deque()

    def add(self, row: int, video: str, views: NDArray[np.generic]) -> None:
        """Take a video's views; they are copied."""
        first = 0
        while first < len(views):
            batch = self._batch = self._batch or self._free_batch()
            count = min(len(views) - first, self.capacity - batch.filled)
            part = torch.from_numpy(views[first : first + count])
            batch.views[batch.filled : batch.filled + count] = part
            batch.segments.append(
                Segment(row=row, video=video, first_view=first, start=batch.filled, count=count)
            )
            batch.filled += count
            first += count
            if batch.filled == self.capacity:
                self._launch()

    def collect(self, *, wait: bool = False) -> None:
        """Deal out the results that are there; with `wait`, all of them."""
        while self._flying and (wait or self._flying[0][1].done()):
            self._land()

    def take_failures(self) -> list[Failure]:
        """Videos that were decoded and failed on the device; they are forgotten here."""
        failures, self._failures = self._failures, []
        return failures

    def flush(self) -> None:
        """Send off what is gathered, and wait for everything."""
        if self._batch is not None:
            self._launch()
        self.collect(wait=True)

    def _launch(self) -> None:
        assert self._batch is not None
        while len(self._flying) > self._device.in_flight:
            self._land()
        batch, self._batch = self._batch, None
        self._flying.append(
            (
                batch,
                self._device.threads.submit(
                    self._device.run, self._batcher, batch.views[: batch.filled]
                ),
            )
        )

    def _land(self) -> None:
        batch, future = self._flying.popleft()
        with self._clock.stage("device"):
            result = future.result()
        self._check_count(batch, result)
        self._device.note(result)
        for segment in batch.segments:
            rows = range(segment.start, segment.start + segment.count)
            unfit = next((result.unfit[row] for row in rows if row in result.unfit), None)
            reasons = [
                shards.fill(
                    segment.row,
                    segment.first_view,
                    segment.count,
                    {name: result.numbers[name][rows.start : rows.stop] for name in shards.arrays},
                    unfit,
                )
                for shards in self.shards
            ]
            if reasons[0] is not None:  # they have the same views, and end together
                self._failures.append(Failure(id=segment.video, reason=reasons[0]))
        batch.filled = 0
        batch.segments.clear()
        self._free.append(batch)

    def _check_count(self, batch: Batch, result: Result) -> None:
        """A row more or less would give every video behind it another one's numbers."""
        for name, array in result.numbers.items():
            if len(array) != batch.filled:
                raise ExtractError(
                    f"Branch {self.branch.name} gave {len(array)} rows of {name} for "
                    f"{batch.filled} views. Nothing of this batch is kept; please report it."
                )

    def _free_batch(self) -> Batch:
        if self._free:
            return self._free.pop()
        kind = getattr(torch, self.branch.prepare.dtype)
        return Batch(views=torch.empty(self._shape, dtype=kind, pin_memory=self._device.cuda))
