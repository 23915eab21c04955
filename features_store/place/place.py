"""What a store asks of the place it lives in.

A place knows keys (`/`-separated paths below its root) and whole values; nothing here knows what
the bytes mean. Two kinds of place keep writers apart in two ways, and `exclusively` serves both:

- a folder has locks: whoever holds one may write, the others wait;
- an object store has versions: a value is only replaced where it is still the one that was read,
  and whoever comes too late (`Overtaken`) starts over.
"""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from features_store.errors import Overtaken

if TYPE_CHECKING:
    import os

    from zarr.abc.store import Store as ZarrStore

Location: TypeAlias = "str | os.PathLike[str] | ZarrStore | Place"
"""A folder's path, a URL (`s3://…`, `gs://…`, what fsspec knows), a zarr store, or a place."""

Buffers = Sequence[memoryview | bytes]
Version: TypeAlias = Mapping[str, str] | None
"""What tells a value from a later one under its key; None where there is no value."""

PROBE = ".telltale-probe-"
"""Begins the names of objects that find out what a server can do."""

T = TypeVar("T")
_ATTEMPTS = 60
_LONGEST_PAUSE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value and its version; both None where there is none."""

    content: bytes | None
    version: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A value's bytes, and whether this process has found them intact before."""

    memory: memoryview
    intact: bool = False
    found_intact: Callable[[], None] = lambda: None
    """To be called once they were checked."""


class Place(ABC):
    """Keys and values."""

    locks: bool
    """Whether `lock` keeps others out; where it does not, `swap` notices them."""
    patience = 10.0
    """Seconds without a sign of life from a writer that has begun, after which others go ahead."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """The value, copied into memory, or None where there is none."""

    @abstractmethod
    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Many small values, fetched together where that is faster."""

    @abstractmethod
    def view(self, key: str) -> View | None:
        """The value as memory to read from. In a folder a big file is mapped, not copied.

        As with any mapped file, a disk that fails meanwhile ends the process with SIGBUS; `get`
        raises instead.
        """

    @abstractmethod
    def read(self, key: str) -> Value:
        """The value with its version."""

    @abstractmethod
    def version(self, key: str) -> Version:
        """The version of a value, without the value."""

    @abstractmethod
    def size(self, key: str) -> int | None:
        """The value's size in bytes, None where there is none."""

    @abstractmethod
    def put(self, key: str, buffers: Buffers) -> None:
        """Write durably, all or nothing, replacing what is there."""

    @abstractmethod
    def put_new(self, key: str, buffers: Buffers) -> None:
        """The same, but what is there already stays: of several writers the first wins."""

    @abstractmethod
    def swap(self, key: str, buffers: Buffers, seen: Version) -> Version:
        """Replace the value of version `seen`; Overtaken where it is another by now.

        In a folder nothing is compared: there the key's lock is held.
        """

    @abstractmethod
    def lock(self, key: str) -> AbstractContextManager[None]:
        """Keep other writers out, where the place has locks. `key` names the lock's file."""

    @abstractmethod
    def delete(self, *keys: str) -> None:
        """Remove the values that are there."""

    @abstractmethod
    def delete_tree(self, prefix: str) -> None:
        """Remove everything below the prefix."""

    @abstractmethod
    def children(self, prefix: str) -> list[str]:
        """Names directly below the prefix, sorted."""

    @abstractmethod
    def walk(self, prefix: str) -> Iterator[str]:
        """All keys below the prefix."""

    @abstractmethod
    def age(self, key: str) -> float | None:
        """Seconds since the value was written, None where it is gone or the place cannot say."""


def exclusively(place: Place, lock: str, work: Callable[[], T]) -> T:
    """Do `work`, which reads, decides and writes, as if no other writer were there."""
    for attempt in range(_ATTEMPTS):
        try:
            with place.lock(lock):
                return work()
        except Overtaken:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.05 * 2**attempt)))
    raise AssertionError  # the last attempt has raised
