"""A folder as a place: reads go straight to the files, writes through `commit`."""

import contextlib
import errno
import mmap
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from features_store import commit, lock
from features_store.errors import Damaged, ReadFailed, WriteFailed
from features_store.place.place import Buffers, Place, Value, Version, View

T = TypeVar("T")
_WORTH_MAPPING = 2**16
_ABSENT = (FileNotFoundError, NotADirectoryError)
_BROKEN = {errno.EIO, errno.EISDIR, errno.EUCLEAN, errno.EBADMSG}
"""What says that a file's bytes are lost, where other errors say that one cannot get at them."""
_THERE: Version = {}


class LocalPlace(Place):
    """A folder."""

    locks = True

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self._intact: dict[str, tuple[int, ...]] = {}
        """Files whose checksum this process has found to be right, by key."""

    def get(self, key: str) -> bytes | None:
        return self._reading(key, Path.read_bytes)

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def read(self, key: str) -> Value:
        content = self.get(key)
        return Value(content=content, version=None if content is None else _THERE)

    def version(self, key: str) -> Version:
        return None  # its lock is held: `swap` does not look

    def view(self, key: str) -> View | None:
        def look(path: Path) -> View:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return self._view(key, descriptor)
            finally:
                os.close(descriptor)

        return self._reading(key, look)

    def _view(self, key: str, descriptor: int) -> View:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        size = status.st_size
        identity = (status.st_dev, status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns)
        memory: memoryview | mmap.mmap | bytes
        if size < _WORTH_MAPPING:
            memory = os.pread(descriptor, size, 0)
        else:
            if hasattr(os, "posix_fadvise"):  # not on macOS
                os.posix_fadvise(descriptor, 0, size, os.POSIX_FADV_WILLNEED)
            memory = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)

        def found_intact() -> None:
            self._intact[key] = identity

        return View(
            memory=memoryview(memory),
            intact=self._intact.get(key) == identity,
            found_intact=found_intact,
        )

    def size(self, key: str) -> int | None:
        return self._reading(key, lambda path: path.stat().st_size)

    def put(self, key: str, buffers: Buffers) -> None:
        commit.write_file(self.root / key, buffers)

    def put_new(self, key: str, buffers: Buffers) -> None:
        commit.write_file(self.root / key, buffers, replace=False)

    def swap(self, key: str, buffers: Buffers, seen: Version) -> Version:
        self.put(key, buffers)
        return _THERE

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        path = self.root / key
        commit.make_directory(path.parent)
        with lock.alone(path):
            # An NFS client remembers for a minute that a file was not there. Changing the folder
            # makes it ask the server again, so that what the last holder wrote is seen.
            with contextlib.suppress(OSError):
                os.utime(path.parent)
            yield

    def delete(self, *keys: str) -> None:
        folders = set()
        for key in keys:
            path = self.root / key
            try:
                path.unlink()
            except _ABSENT:
                continue
            except OSError as error:
                if not path.is_dir():
                    raise WriteFailed(f"{path}: {error.strerror}; it was not removed.") from error
                shutil.rmtree(path)  # a folder in the place of a file
            folders.add(path.parent)
        for folder in folders:
            with contextlib.suppress(*_ABSENT):
                commit.fsync_directory(folder)

    def delete_tree(self, prefix: str) -> None:
        try:
            shutil.rmtree(self.root / prefix)
        except _ABSENT:
            return
        except OSError as error:
            raise WriteFailed(f"{error.filename}: {error.strerror}; it was not removed.") from error

    def children(self, prefix: str) -> list[str]:
        names = self._reading(prefix, os.listdir)
        return sorted(names or ())

    def walk(self, prefix: str) -> Iterator[str]:
        for folder, _, files in os.walk(self.root / prefix):
            below = Path(folder).relative_to(self.root)
            yield from ((below / file).as_posix() for file in sorted(files))

    def age(self, key: str) -> float | None:
        return self._reading(key, lambda path: time.time() - path.stat().st_mtime)

    def _reading(self, key: str, read: Callable[[Path], T]) -> T | None:
        """What is not there is None; what the disk refuses is an error of the store."""
        path = self.root / key
        try:
            return read(path)
        except _ABSENT:
            return None
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in _BROKEN:
                raise Damaged(str(path), f"cannot be read ({reason})") from error
            raise ReadFailed(
                f"{path}: {reason}. Nothing was changed; see to it, then try again."
            ) from error
