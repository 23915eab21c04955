"""One branch at work: views of many videos gathered into full batches, results dealt back.

The device runs in threads of its own, so that the caller goes on gathering: on CUDA two batches
are in flight, each on its own stream, and one is copied while the other computes. A fixed number
of staging buffers bounds the memory.
"""

import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.branch import Branch
from extract.running.batching import CPU_BATCH, Batcher
from extract.running.open_shards import Numbers, OpenShards

STAGING_BYTES = 256 * 2**20
"""Of one batch; more is not faster, and three of them are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Views of one video that lie together in a batch."""

    row: int
    first_view: int
    start: int
    count: int


@dataclass(slots=True, kw_only=True)
class Batch:
    """A staging buffer and whose views are in it."""

    views: Tensor
    filled: int = 0
    segments: list[Segment] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the device made of a batch."""

    numbers: Numbers
    start: float
    end: float
    """Seconds on the device's own clock."""


def staging_bytes(branch: Branch) -> int:
    """At most, for all of a lane's buffers."""
    if branch.device.type == "cuda":
        return 4 * max(STAGING_BYTES, branch.prepare.nbytes(1))
    return 3 * branch.prepare.nbytes(CPU_BATCH)


class Device:
    """The threads that feed one device, and how long it was busy."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cuda = device.type == "cuda"
        self.in_flight = 2 if self.cuda else 1
        self.threads = ThreadPoolExecutor(self.in_flight, thread_name_prefix="device")
        self.busy = 0.0
        self._busy_until = 0.0
        self._own = threading.local()
        if self.cuda:
            self._origin = _event()
            self._origin.record(torch.cuda.current_stream(device))

    def close(self) -> None:
        self.threads.shutdown(cancel_futures=True)

    def note(self, result: Result) -> None:
        """Batches may overlap; what both cover counts once."""
        self.busy += max(0.0, result.end - max(result.start, self._busy_until))
        self._busy_until = max(result.end, self._busy_until)

    def run(self, batcher: Batcher, views: Tensor) -> Result:
        """In one of the threads: the branch's numbers for a batch in host memory."""
        if self.cuda:
            return self._run_cuda(batcher, views)
        start = time.perf_counter()
        results = batcher.branch.numpy(batcher.run(views))
        return Result(numbers=results, start=start, end=time.perf_counter())

    def _run_cuda(self, batcher: Batcher, views: Tensor) -> Result:
        """On this thread's own stream; nobody else waits for it."""
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        start, end = _event(), _event()
        with torch.cuda.device(self.device), torch.cuda.stream(self._own.stream):
            on_device = views.to(self.device, non_blocking=True)
            start.record()
            results = batcher.run(on_device)
            end.record()
            host = {
                name: numbers.float().to("cpu", non_blocking=True)
                for name, numbers in results.items()
            }
            self._own.stream.synchronize()
        return Result(
            numbers=batcher.branch.numpy(host),
            start=self._origin.elapsed_time(start) / 1000,
            end=self._origin.elapsed_time(end) / 1000,
        )


class Lane:
    """Views in, rows of open shards out. Used by one thread."""

    def __init__(
        self, branch: Branch, shards: OpenShards, device: Device, batch: int | None
    ) -> None:
        self.branch = branch
        self.shards = shards
        self.waited = 0.0
        """Seconds that the caller waited for the device."""
        self._device = device
        self._batcher = Batcher(branch, batch, in_flight=device.in_flight)
        prepare = branch.prepare
        self.capacity = max(1, min(self._batcher.size, STAGING_BYTES // prepare.nbytes(1)))
        self._shape = (self.capacity, *prepare.shape)
        self._free: list[Batch] = []
        self._batch: Batch | None = None
        self._flying: deque[tuple[Batch, Future[Result]]] = deque()

    def add(self, row: int, views: NDArray[np.generic]) -> None:
        """Take a video's views; they are copied."""
        first = 0
        while first < len(views):
            batch = self._batch = self._batch or self._free_batch()
            count = min(len(views) - first, self.capacity - batch.filled)
            part = torch.from_numpy(views[first : first + count])
            batch.views[batch.filled : batch.filled + count] = part
            batch.segments.append(
                Segment(row=row, first_view=first, start=batch.filled, count=count)
            )
            batch.filled += count
            first += count
            if batch.filled == self.capacity:
                self._launch()

    def collect(self, *, wait: bool = False) -> None:
        """Deal out the results that are there; with `wait`, all of them."""
        while self._flying and (wait or self._flying[0][1].done()):
            self._land()

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
        start = time.perf_counter()
        result = future.result()
        self.waited += time.perf_counter() - start
        self._device.note(result)
        for segment in batch.segments:
            part = slice(segment.start, segment.start + segment.count)
            numbers = {name: array[part] for name, array in result.numbers.items()}
            self.shards.fill(segment.row, segment.first_view, numbers)
        batch.filled = 0
        batch.segments.clear()
        self._free.append(batch)

    def _free_batch(self) -> Batch:
        if self._free:
            return self._free.pop()
        kind = getattr(torch, self.branch.prepare.dtype)
        return Batch(views=torch.empty(self._shape, dtype=kind, pin_memory=self._device.cuda))


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
