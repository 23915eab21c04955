"""Who computes on a device at a time: anybody beside others, or one alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


class Turns:
    """Of one device, whichever networks are at work on it."""

    def __init__(self) -> None:
        self._at_work = 0
        self._wish_to_be_alone = 0
        self._changed = threading.Condition()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Beside others; waits while somebody is alone, or waits to be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wish_to_be_alone)
            self._at_work += 1
        try:
            yield
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Once all others have finished what they are at, and before they go on."""
        with self._changed:
            self._wish_to_be_alone += 1
            try:
                self._changed.wait_for(lambda: not self._at_work)
                yield
            finally:
                self._wish_to_be_alone -= 1
                self._changed.notify_all()


@cache
def turns_on(device: torch.device) -> Turns:
    """The same for everybody in this process."""
    del device  # what `cache` tells them apart by
    return Turns()
