"""Where a store's bytes live: a folder on this machine, or anything that zarr has a store for.

A place knows keys (`/`-separated paths below the root) and whole values; nothing here knows what
the bytes mean. A remote write is one PUT, which object stores make durable and all or nothing.
"""

import contextlib
import fcntl
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from features_store import commit

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

Location: TypeAlias = "str | os.PathLike[str] | ZarrStore | Place"
"""A folder's path, a URL (`s3://…`, `gs://…`, what fsspec knows), a zarr store, or a place."""

Buffers = Sequence[memoryview | bytes]
LEASE = "being-extended"


class Place(ABC):
    """Keys and values."""

    name: str

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """The value, or None where there is none."""

    @abstractmethod
    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Many small values, fetched together where that is faster."""

    @abstractmethod
    def read_into(self, key: str, targets: Sequence[memoryview]) -> int | None:
        """Fill the targets from the value's start. The value's size, None where there is none."""

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
    def delete(self, key: str) -> None:
        """Remove the value if there is one."""

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
    def alone(self, prefix: str) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out of what one at a time may extend.

        In a folder they wait, and a killed process lets go. An object store has no such lock: there
        a lease object is created, others are refused, and one left by a killed process stays until
        `gc` removes it.
        """


def open_place(where: "Location") -> Place:
    """Whatever a store can be in, as a place."""
    from features_store.remote import RemotePlace, open_url

    if isinstance(where, Place):
        return where
    if not isinstance(where, str | os.PathLike):
        return RemotePlace(where, str(where))
    text = os.fspath(where)
    if "://" not in text:
        return LocalPlace(Path(text))
    return RemotePlace(open_url(text), text)


class LocalPlace(Place):
    """A folder. Reads go straight to the files, writes through `commit`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)

    def get(self, key: str) -> bytes | None:
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def read_into(self, key: str, targets: Sequence[memoryview]) -> int | None:
        try:
            descriptor = os.open(f"{self.root}/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            size = os.fstat(descriptor).st_size
            _fill(descriptor, targets)
            return size
        finally:
            os.close(descriptor)

    def size(self, key: str) -> int | None:
        try:
            return (self.root / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, key: str, buffers: Buffers) -> None:
        commit.write_file(self.root / key, buffers)

    def put_new(self, key: str, buffers: Buffers) -> None:
        commit.write_file(self.root / key, buffers, replace=False)

    def delete(self, key: str) -> None:
        path = self.root / key
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
            commit.fsync_directory(path.parent)

    def delete_tree(self, prefix: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            shutil.rmtree(self.root / prefix)

    def children(self, prefix: str) -> list[str]:
        try:
            return sorted(os.listdir(self.root / prefix))  # noqa: PTH208 (Path is ten times slower)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self, prefix: str) -> Iterator[str]:
        for folder, _, files in os.walk(self.root / prefix):
            below = Path(folder).relative_to(self.root)
            yield from ((below / file).as_posix() for file in sorted(files))

    @contextlib.contextmanager
    def alone(self, prefix: str) -> Iterator[None]:
        descriptor = os.open(self.root / prefix, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _fill(descriptor: int, targets: Sequence[memoryview]) -> None:
    """Like one preadv, however short the kernel's answers are."""
    left = [target for target in targets if target.nbytes]
    offset = 0
    while left:
        got = os.preadv(descriptor, left, offset)
        if got == 0:
            return
        offset += got
        while left and got >= left[0].nbytes:
            got -= left[0].nbytes
            left.pop(0)
        if got:
            left[0] = left[0][got:]
