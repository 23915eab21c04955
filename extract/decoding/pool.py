"""Decode workers: processes with a time limit and a memory limit, recycled and replaced.

One bad file costs that video and at most two workers, never the run. A worker that hangs is
killed at the time limit, one that dies is noticed at once; either way a fresh worker takes its
place and the video, which may not be to blame. Lost again, the video fails with the reason.

Each worker has two slots of shared memory, so it decodes the next video while the caller looks at
the last one; nothing else is buffered. Outcomes come in the order in which they are ready.
"""

import itertools
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from extract.decoding.job import Job, Outcome, Plan
from extract.decoding.lots import lots
from extract.decoding.reply import Reply, outcome_of
from extract.decoding.video import DECODERS
from extract.decoding.worker import READY
from extract.errors import BadSetting, ExtractError, OverLimit, WorkerLost
from extract.processes import python_path

START_LIMIT = 120.0
RECYCLE_AFTER = 500
_LONGEST_REPLY = 2**20
"""Bytes."""
_PARTING = 5
"""Seconds for what takes a healthy worker none: to end, or to end a reply that it has begun."""


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
        self._workers: list[_Worker] = []
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
        """End every worker; one in the middle of a video is killed."""
        for worker in self._workers:
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

    def _try_again(self, worker: "_Worker", jobs: list[Job]) -> None:
        """In a fresh worker."""
        worker.stop()
        self._workers.remove(worker)
        fresh = self._new()
        fresh.second_try = True
        fresh.take(jobs)

    def _start(self) -> "_Worker":
        idle = [worker for worker in self._workers if worker.job is None]
        return idle[0] if idle else self._new()

    def _new(self) -> "_Worker":
        worker = _Worker(self.plan)
        self._workers.append(worker)
        self.started += 1
        return worker

    def _next_job(self, worker: "_Worker", queue: Iterator[list[Job]]) -> None:
        """The same worker goes on, or a fresh one in its place."""
        spent = worker.done >= self.recycle_after or not worker.healthy
        if spent:
            worker.stop()
            self._workers.remove(worker)
        jobs = worker.waiting or next(queue, [])
        if jobs:
            (self._start() if spent else worker).take(jobs)

    def _finished(self) -> Iterator[tuple["_Worker", Outcome]]:
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


class _Worker:
    """One process, its socket and its shared memory."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.job: Job | None = None
        self.waiting: list[Job] = []
        """Segments of the file that it is at, which nobody else is given."""
        self.done = 0
        self.healthy = True
        self.second_try = False
        """Whether its job has cost another worker before."""
        self.ready = False
        self.deadline = time.monotonic() + START_LIMIT
        self._slot = 0
        self._slot_bytes = max(plan.slot_bytes, mmap.PAGESIZE)
        size = 2 * self._slot_bytes
        memory = _anonymous_file(size)
        self._buffer = memoryview(mmap.mmap(memory, size))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed by `stop`
        ours, theirs = socket.socketpair()
        # A reply that is begun and not ended must not keep us.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _PARTING, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "extract.decoding.worker"]
            + [str(number) for number in (theirs.fileno(), memory, size)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=(theirs.fileno(), memory),
            env=_environment(),
            start_new_session=True,
        )
        theirs.close()
        os.close(memory)
        self.connection = Connection(ours.detach())
        self._send(plan)

    def take(self, jobs: list[Job]) -> None:
        """The first of them; the others wait."""
        first, *self.waiting = jobs
        ahead = tuple(job.id for job in self.waiting if job.protocols == first.protocols)
        self.give(replace(first, ahead=ahead))

    def give(self, job: Job) -> None:
        self.job = job
        self._slot = self._slot_bytes - self._slot
        if self.ready:
            self.deadline = time.monotonic() + self.plan.seconds(job)
        self._send((job, self._slot))

    def receive(self) -> Outcome | None:
        """What the worker has to say; None when it was only that it is ready."""
        try:
            data = self.connection.recv_bytes(_LONGEST_REPLY)
        except (EOFError, OSError):
            return self._died()
        if data == READY and not self.ready:
            assert self.job is not None
            self.ready = True
            self.deadline = time.monotonic() + self.plan.seconds(self.job)
            return None
        assert self.job is not None
        slot = self._buffer[self._slot : self._slot + self._slot_bytes]
        try:
            said = Reply.decode(data)
            outcome = outcome_of(self.job, said, slot, self.plan)
        except ValueError as error:
            return self._lost(f"its worker does not answer as workers do: {error}")
        self.done += 1
        errors = [said.error, *(one.error for one in said.said)]
        small = said.resident < self.plan.limits.memory_limit // 2
        self.healthy = OverLimit.__name__ not in errors and small
        self.job, self.second_try = None, False
        return outcome

    def is_overdue(self) -> bool:
        """Past its deadline, with no answer waiting to be read."""
        late = self.job is not None and time.monotonic() > self.deadline
        return late and not self.connection.poll()

    def overdue(self) -> Outcome:
        if not self.ready:
            self._cannot_start(f"not ready after {START_LIMIT:g} s")
        assert self.job is not None
        limit = self.plan.seconds(self.job)
        return self._lost(f"no result after {limit:g} s (--time-limit); its worker was killed")

    def stop(self) -> None:
        """Idle workers end by themselves; a busy one is killed."""
        if self.job is not None or not self.healthy:
            self.process.kill()
        self.connection.close()
        try:
            self.process.wait(timeout=_PARTING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._errors.close()

    def _send(self, message: object) -> None:
        """A worker that died is noticed when its answer is read."""
        try:
            self.connection.send(message)
        except OSError:
            self.healthy = False

    def _died(self) -> Outcome:
        try:
            code = self.process.wait(timeout=_PARTING)
        except subprocess.TimeoutExpired:  # it hung up and went on
            self.process.kill()
            code = self.process.wait()
        cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        if not self.ready and code >= 0:
            self._cannot_start(cause)
        return self._lost(f"its worker died ({cause})")

    def _lost(self, reason: str) -> Outcome:
        assert self.job is not None
        self.healthy = False
        self.process.kill()
        again = "; it has cost two workers" if self.second_try else ""
        lost = WorkerLost(reason + again)
        outcome = Outcome(job=self.job, failure=lost)
        self.job = None
        return outcome

    def _cannot_start(self, cause: str) -> None:
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        detail = said[-1] if said else "it said nothing"
        raise ExtractError(f"Decode workers cannot start ({cause}): {detail}")


def _anonymous_file(size: int) -> int:
    """Memory with a descriptor and no name: nothing is left behind, however we end."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("telltale-frames")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, size)
    return handle


def _environment() -> dict[str, str]:
    """One thread per worker, and the same packages as here."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **single, "PYTHONPATH": python_path()}
