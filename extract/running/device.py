"""One device: the threads that feed it, and how long it was busy.

On CUDA two batches are in flight, each on a stream of its own, and one is copied while the other
computes.
"""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from extract.branch import Branch
from extract.errors import DoesNotFit
from extract.running.batching import Batcher
from extract.running.open_shards import Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the device made of a batch."""

    numbers: Numbers
    start: float
    end: float
    """Seconds on the device's own clock."""
    unfit: Mapping[int, str] = field(default_factory=dict)
    """Rows of the batch whose numbers cannot be stored → why. They hold zeros."""


class Device:
    """The threads that feed one device, and how long it was busy."""

    def __init__(self, device: torch.device, in_flight: int | None = None) -> None:
        """`in_flight` batches at a time; None: 2 on CUDA, 1 elsewhere."""
        self.device = device
        self.cuda = device.type == "cuda"
        self.in_flight = in_flight or (2 if self.cuda else 1)
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
        results = batcher.run(views)
        numbers, unfit = storable(batcher.branch, results)
        return Result(numbers=numbers, unfit=unfit, start=start, end=time.perf_counter())

    def _run_cuda(self, batcher: Batcher, views: Tensor) -> Result:
        """On this thread's own stream; nobody else waits for it."""
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        start, end = _event(), _event()
        with torch.cuda.device(self.device), torch.cuda.stream(self._own.stream):
            start.record()
            results = batcher.run(views)
            end.record()
            end.synchronize()
        numbers, unfit = storable(batcher.branch, results)
        return Result(
            numbers=numbers,
            unfit=unfit,
            start=self._origin.elapsed_time(start) / 1000,
            end=self._origin.elapsed_time(end) / 1000,
        )


def storable(branch: Branch, results: Mapping[str, Tensor]) -> tuple[Numbers, dict[int, str]]:
    """Results as they are stored, and the rows whose numbers do not fit their type."""
    try:
        return branch.numpy(results), {}
    except DoesNotFit:
        pass  # find out which
    count = len(next(iter(results.values())))
    numbers = {
        name: np.zeros((count, *array.shape), array.dtype) for name, array in branch.outputs.items()
    }
    unfit: dict[int, str] = {}
    for row in range(count):
        try:
            one = branch.numpy({name: array[row : row + 1] for name, array in results.items()})
        except DoesNotFit as error:
            unfit[row] = str(error)
            continue
        for name, array in one.items():
            numbers[name][row] = array[0]
    return numbers, unfit


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
