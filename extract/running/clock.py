"""Where one thread's time goes: a clock per stage, each second charged to one stage alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("decode", "prepare", "device", "write")
"""The calling thread waits for decoded videos, copies them into batches and results into shards
(`prepare`), waits for the device, waits for the disk."""


class Clock:
    """Seconds per stage. A stage inside another stops the outer one's clock meanwhile."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        """What has passed since the last change belongs to the innermost stage."""
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
