"""Ctrl-C and SIGTERM while something runs that can end tidily.

The first asks the run to stop after what it has begun; the second ends the process at once, which
loses no more than a kill would.
"""

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Self

from extract.exit_codes import INTERRUPTED

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """A context manager; `asked` says whether the user wants to stop. Main thread only."""

    def __init__(self, notice: str) -> None:
        self.asked = False
        self._notice = notice

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(INTERRUPTED)
        self.asked = True
        sys.stderr.write(f"\n{self._notice}\n")
