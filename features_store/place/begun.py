"""A writer's word that it is at work, for places without locks.

It stands in the value that the writer will replace at the end, names the writer, and is given anew
every few seconds with a higher count. Other writers wait for as long as it changes; `swap` is what
keeps them apart, this only keeps them from making each other start over again and again.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from features_store.errors import StoreError
from features_store.place.place import Buffers, Place, Version

T = TypeVar("T")
_WORDS = 5
"""Given within a place's patience."""
_LOOK_AGAIN = 0.1


class Begun:
    """A value that says that its writer has begun."""

    def __init__(self, place: Place, key: str, encode: Callable[[str], Buffers]) -> None:
        """`encode` makes the value's bytes, given what names the writer."""
        self.place = place
        self.key = key
        self.version: Version = None
        self._encode = encode

    @contextlib.contextmanager
    def since(self, seen: Version) -> Iterator[None]:
        """Write the value over the one of version `seen`, and keep it alive meanwhile.

        Afterwards `version` is the version of the last one.
        """
        self._give_word(0, seen)
        if self.place.locks or not self.place.patience:
            yield
            return
        done = threading.Event()
        thread = threading.Thread(target=self._keep_alive, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _give_word(self, count: int, seen: Version) -> None:
        self.version = self.place.swap(self.key, self._encode(f"{this_writer()}#{count}"), seen)

    def _keep_alive(self, done: threading.Event) -> None:
        count = 0
        while not done.wait(self.place.patience / _WORDS):
            count += 1
            # Where another has begun meanwhile, the last write will fail, and say so.
            with contextlib.suppress(StoreError):
                self._give_word(count, self.version)


def patiently(place: Place, look: Callable[[], tuple[T, str, Version]]) -> tuple[T, Version]:
    """What `look` finds, once no other writer is at it, or shows no life any more.

    It gives the value, its writer, and its version.
    """
    value, writer, version = look()
    since = time.monotonic()
    while (
        not place.locks
        and writer.partition("#")[0] not in ("", this_writer())
        and time.monotonic() - since < place.patience
    ):
        time.sleep(_LOOK_AGAIN)
        seen = version
        value, writer, version = look()
        if version != seen:
            since = time.monotonic()
    return value, version


def this_writer() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
