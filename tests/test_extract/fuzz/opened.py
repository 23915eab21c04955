"""Which files are opened while something runs, by whomever: the kernel tells (inotify).

A decoder's `fopen` is no event in Python; the kernel sees it.
"""

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

_OPENED = 0x20 | 0x1  # IN_OPEN, IN_ACCESS
_EVENT = struct.Struct("iIII")


class Watch:
    """Notes every opening of a file, or in a folder, until it is closed."""

    def __init__(self, places: Sequence[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0:
            raise OSError(ctypes.get_errno(), "inotify is not there")
        self._places: dict[int, Path] = {}
        for place in places:
            number = libc.inotify_add_watch(self._handle, os.fsencode(place), _OPENED)
            if number < 0:
                raise OSError(ctypes.get_errno(), f"{place} cannot be watched")
            self._places[number] = place

    def take(self) -> list[str]:
        """Paths opened since the last call."""
        found: list[str] = []
        while True:
            try:
                data = os.read(self._handle, 2**16)
            except BlockingIOError:
                return found
            place = 0
            while place < len(data):
                number, _, _, length = _EVENT.unpack_from(data, place)
                place += _EVENT.size
                name = data[place : place + length].rstrip(b"\0")
                place += length
                folder = self._places[number]
                found.append(str(folder / os.fsdecode(name)) if name else str(folder))

    def close(self) -> None:
        os.close(self._handle)
