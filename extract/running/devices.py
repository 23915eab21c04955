"""Several devices of one machine: a process for each."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from extract import processes
from extract.errors import ExtractError
from extract.processes import default_workers
from extract.running.messages import AHEAD, NEXT, STOP, Ended, Ready
from extract.running.run import Run
from extract.running.summary import Report
from extract.running.workload import Piece

_POLL = 0.2


class DeviceLost(ExtractError):
    """A device's process was killed. What it had not committed is still missing."""


class _Child:
    """One device's process."""

    def __init__(self, told: Run) -> None:
        self.device = told.devices[0]
        module = "extract.running.device_process"
        self.process, self.connection = processes.start(module, subprocess.DEVNULL)
        self.send(told)

    def send(self, message: object) -> None:
        """One that is gone is noticed when it is listened to."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def receive(self) -> object:
        """Its next message; an error where it is gone."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(message, Ended) and message.error is not None:
            raise ExtractError(message.error)
        return message

    def close(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()

    def _lost(self) -> ExtractError:
        code = self.process.wait()
        if code >= 0:
            return ExtractError(
                f"The process of {self.device} ended with exit status {code}; what it said is "
                f"above. What is done is kept: the same command goes on."
            )
        return DeviceLost(
            f"The process of {self.device} was killed ({signal.Signals(-code).name}). What is done "
            f"is kept: the same command goes on."
        )


class DeviceCrew:
    """A process per device of a run. Use it as a context manager."""

    def __init__(self, run: Run) -> None:
        import torch

        self.count = len(run.devices)
        total = run.workers or default_workers(self.count)
        self.workers = max(1, total // self.count)
        threads = run.threads or torch.get_num_threads()
        self._children = [
            _Child(run.share(device, self.workers, threads)) for device in run.devices
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children:
            child.close()

    @property
    def processes(self) -> list[int]:
        return [child.process.pid for child in self._children]

    def ready(self) -> Ready:
        found = [child.receive() for child in self._children]
        assert isinstance(found[0], Ready)
        return found[0]

    def work(self, pieces: Iterator[Piece]) -> Iterator[Report]:
        for child in self._children * AHEAD:
            child.send(next(pieces, None))
        working = {child.connection: child for child in self._children}
        ended: ExtractError | None = None
        while working:
            for connection in wait(list(working), _POLL):
                assert isinstance(connection, Connection)
                try:
                    message = working[connection].receive()
                except ExtractError as error:
                    del working[connection]
                    ended = ended or error
                    if not isinstance(error, DeviceLost):  # it would happen to the others too
                        self.stop()
                    continue
                if message == NEXT:
                    working[connection].send(next(pieces, None))
                elif isinstance(message, Ended):
                    del working[connection]
                elif isinstance(message, Report):
                    yield message
            yield Report()
        if ended is not None:
            raise ended

    def stop(self) -> None:
        for child in self._children:
            child.send(STOP)
