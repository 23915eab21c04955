"""A decode worker as its parent sees it: a process, a socket to it, and memory that both have."""

import contextlib
import mmap
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import replace
from multiprocessing.reduction import send_handle

from extract import processes
from extract.decoding.job import Job, Outcome, Plan
from extract.decoding.reply import Reply, outcome_of
from extract.decoding.worker import READY
from extract.errors import ExtractError, OverLimit, WorkerLost

START_LIMIT = 120.0
_LONGEST_REPLY = 2**20
"""Bytes."""
_PARTING = 5
"""Seconds for what takes a healthy worker none: to end a reply that it has begun, or itself."""


class WorkerProcess:
    """It waits until it is told a plan, and may be told another one when it is idle."""

    plan: Plan

    def __init__(self) -> None:
        self.job: Job | None = None
        self.waiting: list[Job] = []
        """Segments of the file that it is at, which nobody else is given."""
        self.done = 0
        self.healthy = True
        self.second_try = False
        """Whether its job has cost another worker before."""
        self.ready = False
        self._started = False
        """Whether it was ready for any plan."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed by `stop`
        self.process, self.connection = processes.start(
            "extract.decoding.worker", subprocess.DEVNULL, said=self._errors, single=True
        )
        with socket.socket(fileno=os.dup(self.connection.fileno())) as ours:
            # A reply that is begun and not ended must not keep us.
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _PARTING, 0))

    def follow(self, plan: Plan) -> None:
        """From now on its jobs are of this plan, and its memory is as large as that needs."""
        self.plan = plan
        self.ready = False
        self.deadline = time.monotonic() + START_LIMIT
        self._slot = 0
        self._slot_bytes = max(plan.slot_bytes, mmap.PAGESIZE)
        size = 2 * self._slot_bytes
        memory = _anonymous_file(size)
        self._buffer = memoryview(mmap.mmap(memory, size))
        self._send((plan, size))
        with contextlib.suppress(OSError):  # as `_send`
            send_handle(self.connection, memory, self.process.pid)
        os.close(memory)

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
            self.ready = self._started = True
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
        if not self._started:
            self._cannot_start(f"not ready after {START_LIMIT:g} s")
        assert self.job is not None
        if not self.ready:
            return self._lost(f"its worker took no other plan in {START_LIMIT:g} s")
        limit = self.plan.seconds(self.job)
        return self._lost(f"no result after {limit:g} s (--time-limit); its worker was killed")

    def stop(self) -> None:
        """At once: it has nothing that it would have to bring to an end."""
        self.process.kill()
        self.connection.close()
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
        if not self._started and code >= 0:
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
