"""Arrays that several processes see in one place: a file without a name, gone when they are."""

import mmap
import os
import pickle
import tempfile
from contextlib import suppress
from typing import Any

import numpy as np

Shown = tuple[bytes, list[tuple[int, int]]]
"""What is sent: a pickle, and where in the file the arrays lie that it lacks, and their sizes."""


class Memory:
    """What is shown to processes: each array once, for as long as they run."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the processes
        self._places: dict[tuple[int, int], int] = {}
        self._kept: list[pickle.PickleBuffer] = []  # alive, so that no other has its address

    @property
    def file(self) -> int:
        return self._file.fileno()

    @property
    def size(self) -> int:
        """Bytes."""
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        with suppress(OSError):  # a full disk: what could not be written is wanted no more
            self._file.close()

    def shown(self, what: object) -> Shown:
        """What `seen` makes the same of."""
        buffers: list[pickle.PickleBuffer] = []
        text = pickle.dumps(what, protocol=5, buffer_callback=buffers.append)
        return text, [(self._place(buffer), buffer.raw().nbytes) for buffer in buffers]

    def _place(self, buffer: pickle.PickleBuffer) -> int:
        raw = buffer.raw()
        key = np.frombuffer(raw, np.uint8).ctypes.data, raw.nbytes
        if key not in self._places:
            place = -(-self.size // mmap.PAGESIZE) * mmap.PAGESIZE
            self._file.seek(place)
            self._file.write(raw)
            self._file.flush()
            self._places[key] = place
            self._kept.append(buffer)
        return self._places[key]


def seen(file: int, shown: Shown) -> Any:  # noqa: ANN401, whatever was shown
    """In another process, without a copy: writing changes nobody else's."""
    text, places = shown
    buffers = [
        mmap.mmap(file, size, offset=place, access=mmap.ACCESS_COPY) if size else b""
        for place, size in places
    ]
    return pickle.loads(text, buffers=buffers)  # noqa: S301, our own process's
