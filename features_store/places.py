"""Where a store's bytes live: a folder on this machine, or anything that zarr has a store for.

A place knows keys (`/`-separated paths below the root) and whole values; nothing here knows what
the bytes mean. A remote write is one PUT, which object stores make durable and all or nothing.
"""

import contextlib
import mmap
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from features_store import commit

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

Location: TypeAlias = "str | os.PathLike[str] | ZarrStore | Place"
"""A folder's path, a URL (`s3://…`, `gs://…`, what fsspec knows), a zarr store, or a place."""

Buffers = Sequence[memoryview | bytes]
LEASE = "being-extended"
_WORTH_MAPPING = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A value's bytes, and what tells a file from a later one of that name."""

    memory: memoryview
    identity: tuple[int, ...] | None
    """None where there is no telling."""


class Place(ABC):
    """Keys and values."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.intact: dict[str, tuple[int, ...]] = {}
        """Files whose checksum this process has found to be right, by key."""

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """The value, or None where there is none."""

    @abstractmethod
    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Many small values, fetched together where that is faster."""

    @abstractmethod
    def view(self, key: str) -> View | None:
        """The value as memory to read from. In a folder a big file is mapped, not copied.

        As with any mapped file, a disk that fails meanwhile ends the process with SIGBUS.
        """

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
        super().__init__(str(root))
        self.root = root

    def get(self, key: str) -> bytes | None:
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def view(self, key: str) -> View | None:
        try:
            descriptor = os.open(f"{self.root}/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            status = os.fstat(descriptor)
            size = status.st_size
            identity = (status.st_dev, status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns)
            if size < _WORTH_MAPPING:
                return View(memory=memoryview(os.pread(descriptor, size, 0)), identity=identity)
            if hasattr(os, "posix_fadvise"):  # not on macOS
                os.posix_fadvise(descriptor, 0, size, os.POSIX_FADV_WILLNEED)
            mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
            return View(memory=memoryview(mapped), identity=identity)
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

    def alone(self, prefix: str) -> contextlib.AbstractContextManager[None]:
        return commit.alone(self.root / prefix)
