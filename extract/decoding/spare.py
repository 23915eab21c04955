"""A worker that is started before it is needed, and goes from pool to pool.

To start one takes longer than to look at a short video. Whoever has several pools look at one file
after the other saves the starts:

    spare = Spare()
    spare.start()             # a worker starts, and nobody waits for it
    with spare.used():
        ...                   # pools that are made in here take it, and put it back
    spare.close()

At the end of each use it ends and another one starts: whatever a file has done to a worker, the
files of the next use never meet it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Optional

from extract.decoding.worker_process import WorkerProcess

_USED: ContextVar[Optional["Spare"]] = ContextVar("spare", default=None)


class Spare:
    """At most one process waits in it."""

    def __init__(self) -> None:
        self._worker: WorkerProcess | None = None

    @staticmethod
    def in_use() -> "Spare | None":
        """In this thread."""
        return _USED.get()

    def start(self) -> None:
        """Have a worker wait; where none can be started now, pools try it themselves."""
        if self._worker is None:
            with suppress(OSError):
                self._worker = WorkerProcess()

    @contextmanager
    def used(self) -> Iterator[None]:
        """While it is, pools of this thread take their first worker from here."""
        self.start()
        before = _USED.set(self)
        try:
            yield
        finally:
            _USED.reset(before)
            self.close()
            self.start()

    def take(self) -> WorkerProcess | None:
        """The worker, where one waits."""
        worker, self._worker = self._worker, None
        return worker

    def put(self, worker: WorkerProcess) -> bool:
        """Whether it stays: it must be idle and unharmed, and no other one must wait."""
        if self._worker is not None or worker.job is not None or not worker.healthy:
            return False
        self._worker = worker
        return True

    def close(self) -> None:
        """Nothing waits any more, until it is started or used."""
        worker = self.take()
        if worker is not None:
            worker.stop()
