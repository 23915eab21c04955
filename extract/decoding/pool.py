"""Decode workers: processes with a time limit and a memory limit, recycled and replaced.

One bad file costs that video and at most two workers, never the run. A worker that hangs is
killed at the time limit, one that dies is noticed at once; either way a fresh worker takes its
place and the video, which may not be to blame. Lost again, the video fails with the reason.

Each worker has two slots of shared memory, so it decodes the next video while the caller looks at
the last one; nothing else is buffered. Outcomes come in the order in which they are ready.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from extract.decoding.job import Job, Outcome, Plan
from extract.decoding.lots import lots
from extract.decoding.spare import Spare
from extract.decoding.video import DECODERS
from extract.decoding.worker_process import WorkerProcess
from extract.errors import BadSetting, WorkerLost

RECYCLE_AFTER = 500


class DecodePool:
    """Runs jobs through worker processes. Use it as a context manager."""

    def __init__(self, plan: Plan, *, workers: int = 1, recycle_after: int = RECYCLE_AFTER) -> None:
        if workers < 1 or recycle_after < 1:
            raise BadSetting(
                f"{workers} workers, recycled after {recycle_after} videos: give 1 or more."
            )
        if plan.decoder not in DECODERS:
            raise BadSetting(f"Decoder {plan.decoder!r} unknown; have: {', '.join(DECODERS)}.")
        self.plan = plan
        self.recycle_after = recycle_after
        self._count = workers
        self._workers: list[WorkerProcess] = []
        self._spare = Spare.in_use()
        self.started = 0
        """Worker processes started so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every worker, but for one that goes on to another pool."""
        for worker in self._workers:
            if self._spare is None or not self._spare.put(worker):
                worker.stop()
        self._workers.clear()

    @property
    def processes(self) -> list[int]:
        """Ids of the worker processes that run now."""
        return [worker.process.pid for worker in self._workers]

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Do all jobs. An outcome's arrays are good until the next one is asked for."""
        queue = lots(jobs)
        for group in itertools.islice(queue, self._count):
            self._start().take(group)
        while any(worker.job is not None for worker in self._workers):
            for worker, outcome in self._finished():
                if isinstance(outcome.failure, WorkerLost) and not worker.second_try:
                    self._try_again(worker, [outcome.job, *worker.waiting])
                    continue
                self._next_job(worker, queue)
                yield outcome

    def _try_again(self, worker: WorkerProcess, jobs: list[Job]) -> None:
        """In a fresh worker."""
        worker.stop()
        self._workers.remove(worker)
        fresh = self._new()
        fresh.second_try = True
        fresh.take(jobs)

    def _start(self) -> WorkerProcess:
        idle = [worker for worker in self._workers if worker.job is None]
        return idle[0] if idle else self._new()

    def _new(self) -> WorkerProcess:
        worker = self._spare.take() if self._spare is not None else None
        if worker is None:
            worker = WorkerProcess()
            self.started += 1
        self._workers.append(worker)
        worker.follow(self.plan)
        return worker

    def _next_job(self, worker: WorkerProcess, queue: Iterator[list[Job]]) -> None:
        """The same worker goes on, or a fresh one in its place."""
        spent = worker.done >= self.recycle_after or not worker.healthy
        if spent:
            worker.stop()
            self._workers.remove(worker)
        jobs = worker.waiting or next(queue, [])
        if jobs:
            (self._start() if spent else worker).take(jobs)

    def _finished(self) -> Iterator[tuple[WorkerProcess, Outcome]]:
        """Workers with an outcome; waits for the first."""
        busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
        patience = min(worker.deadline for worker in busy.values()) - time.monotonic()
        for connection in wait(list(busy), max(0.0, patience)):
            assert isinstance(connection, Connection)
            outcome = busy[connection].receive()
            if outcome is not None:
                yield busy[connection], outcome
        for worker in busy.values():
            if worker.is_overdue():
                yield worker, worker.overdue()
