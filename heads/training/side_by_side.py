"""Several heads that learn one after another, or in processes where that is sooner.

Small heads learn best on one thread (`threads`), so folds, seeds and rows of an ablation leave all
cores but one idle. The first one learns here and tells how long one takes; where the others are
worth it, they are shared out over processes, which see the same memory and give the same heads to
the bit. Whatever happens to a process, its fit is done here.
"""

import os
import pickle
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from extract import processes
from features_store.table import Table
from heads.errors import BadSetting
from heads.head import FitReport, Head, OnEpoch
from heads.training.free_memory import free_bytes
from heads.training.memory import Memory
from heads.training.threads import one_thread

if TYPE_CHECKING:
    import subprocess

SWITCH = "TELLTALE_PROCESSES"
"""How many learn at once at most; default: as many as there are cores. 1: never in processes."""
_START = 4.0
"""Seconds until a process that is started learns, at worst."""
_LOADING = 3.0
"""Seconds of a first fit that may be the libraries', which it loads: they say nothing of others."""
_FEATURES = 4
"""Times as much memory as a table's arrays take, a fit takes of its own."""
_OWN = 400 * 2**20
"""Bytes of a process without features."""
_OF_DISK = 0.5
"""Share of what is free for temporary files that arrays may take there."""
_MODULE = "heads.training.fit_process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A head that is to learn."""

    head: Head
    train: Table
    deciding: Table
    learns: NDArray[np.bool_] | None = None
    """Which rows of `train`; None: all."""
    decides: NDArray[np.bool_] | None = None
    """Which rows of `deciding`; None: all."""
    seed: int = 0
    device: str = "cpu"
    on_epoch: OnEpoch | None = None

    def done(self) -> "tuple[Head, FitReport]":
        """The head, having learnt."""
        guard = one_thread(self.device) if self.head.learns_on_one_thread else nullcontext()
        train, deciding = self.sides
        with guard:
            report = self.head.fit(
                train, deciding, seed=self.seed, device=self.device, on_epoch=self.on_epoch
            )
        return self.head, report

    @property
    def sides(self) -> tuple[Table, Table]:
        """What is learnt from, and what decides."""
        train = self.train if self.learns is None else self.train.take(self.learns)
        deciding = self.deciding if self.decides is None else self.deciding.take(self.decides)
        return train, deciding

    @property
    def goes_elsewhere(self) -> bool:
        """A head of one thread, of a class that another process finds too, and nobody listens."""
        ours = type(self.head).__module__.startswith("heads.")
        small = self.head.learns_on_one_thread and self.device == "cpu"
        return ours and small and self.on_epoch is None

    @property
    def arrays(self) -> dict[int, int]:
        """Bytes of each array that it needs, by its identity."""
        tables = self.train, self.deciding
        return {id(array): array.nbytes for table in tables for array in table.arrays.values()}

    @property
    def bytes(self) -> int:
        """Memory of a process that does it."""
        return _OWN + _FEATURES * sum(self.arrays.values())


def learnt(fits: Iterable[Fit]) -> Iterator[tuple[Head, FitReport]]:
    """Heads that have learnt, in order."""
    queue, loading = deque(fits), _LOADING
    while queue:
        start = time.perf_counter()
        found = queue.popleft().done()
        count = workers(queue, time.perf_counter() - start - loading)
        loading = 0.0
        yield found
        if count > 1:
            with Crew(count) as crew:
                yield from crew.learnt(queue)
            return


def workers(fits: Sequence[Fit], seconds: float) -> int:
    """How many processes are worth starting for what is left, if each takes so long; 1: none."""
    if not fits or not all(fit.goes_elsewhere for fit in fits):
        return 1
    room = (free_bytes("cpu") or 0) // max(fit.bytes for fit in fits)
    count = min(_cores(), len(fits), room)
    seen = sum({place: size for fit in fits for place, size in fit.arrays.items()}.values())
    if seen > _OF_DISK * shutil.disk_usage(tempfile.gettempdir()).free:
        return 1
    if count < 2 or _START + seconds * -(-len(fits) // count) >= seconds * len(fits):
        return 1
    return count


class Crew:
    """Processes that learn heads. Arrays lie in a nameless file that all of them see."""

    def __init__(self, count: int) -> None:
        self._memory = Memory()
        self._all: dict[Connection, subprocess.Popen[bytes]] = {}
        for _ in range(count):
            with suppress(OSError):  # fewer do
                process, connection = processes.start(_MODULE, self._memory.file)
                self._all[connection] = process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for connection in list(self._all):
            self._end(connection)
        self._memory.close()

    def learnt(self, fits: Iterable[Fit]) -> Iterator[tuple[Head, FitReport]]:
        """In order, each as soon as it and all before it are there."""
        waiting = deque(enumerate(fits))
        at_work: dict[Connection, tuple[int, Fit]] = {}
        found: dict[int, tuple[Head, FitReport]] = {}
        free, turn = deque(self._all), 0
        while waiting or at_work or found:
            while free and waiting:
                connection = free.popleft()
                if self._sent(connection, waiting[0][1]):
                    at_work[connection] = waiting.popleft()
            if waiting and not at_work:  # every process is gone
                number, fit = waiting.popleft()
                found[number] = fit.done()
            ready = wait(list(at_work)) if at_work else []
            for connection in [one for one in at_work if one in ready]:
                number, fit = at_work.pop(connection)
                told = self._told(connection)
                found[number] = fit.done() if told is None else told
                if connection in self._all:
                    free.append(connection)
            while turn in found:
                yield found.pop(turn)
                turn += 1

    def _sent(self, connection: Connection, fit: Fit) -> bool:
        """Not where the process is gone, the disk is full, or the fit cannot be pickled."""
        try:
            connection.send(self._memory.shown(fit))
        except (OSError, pickle.PicklingError, TypeError, AttributeError):
            self._end(connection)
            return False
        return True

    def _told(self, connection: Connection) -> tuple[Head, FitReport] | None:
        """None: the process ended before it was done, or could not do it. What is wrong with the
        fit itself is seen when it is done here."""
        try:
            told: tuple[Head, FitReport] | None = pickle.loads(connection.recv_bytes())  # noqa: S301
        except (EOFError, OSError):
            self._end(connection)
            return None
        return told

    def _end(self, connection: Connection) -> None:
        process = self._all.pop(connection)
        connection.close()
        process.kill()
        process.wait()


def _cores() -> int:
    asked = os.environ.get(SWITCH, "")
    if asked and not (asked.isdecimal() and int(asked) > 0):
        raise BadSetting(f"{SWITCH}={asked!r}: give a number of processes, 1 or more.")
    return int(asked) if asked else processes.cores()
