"""Where a store's bytes live: a folder on this machine, or anything that zarr has a store for.

A place knows keys (`/`-separated paths below the root) and whole values; nothing here knows what
the bytes mean. A remote write is one PUT, which object stores make durable and all or nothing.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from features_store import commit
from features_store.errors import BadInput, StoreError, WriteFailed

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

T = TypeVar("T")
Buffers = Sequence[memoryview | bytes]
LEASE = "being-extended"
_REQUESTS_AT_ONCE = 64
_OBSTORE_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")


class Place(Protocol):
    """Keys and values, one of the two classes below."""

    name: str

    def get(self, key: str) -> bytes | None:
        """The value, or None where there is none."""

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Many small values, fetched together where that is faster."""

    def read_into(self, key: str, targets: Sequence[memoryview]) -> int | None:
        """Fill the targets from the value's start. The value's size, None where there is none."""

    def size(self, key: str) -> int | None:
        """The value's size in bytes, None where there is none."""

    def put(self, key: str, buffers: Buffers) -> None:
        """Write durably, all or nothing, replacing what is there."""

    def put_new(self, key: str, buffers: Buffers) -> None:
        """The same, but what is there already stays: of several writers the first wins."""

    def delete(self, key: str) -> None:
        """Remove the value if there is one."""

    def delete_tree(self, prefix: str) -> None:
        """Remove everything below the prefix."""

    def children(self, prefix: str) -> list[str]:
        """Names directly below the prefix, sorted."""

    def walk(self, prefix: str) -> Iterator[str]:
        """All keys below the prefix."""

    def alone(self, prefix: str) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out of what one at a time may extend.

        In a folder they wait, and a killed process lets go. An object store has no such lock: there
        a lease object is created, others are refused, and one left by a killed process stays until
        `gc` removes it.
        """


def open_place(where: "str | os.PathLike[str] | ZarrStore") -> Place:
    """A folder's path, a URL (`s3://…`, `gs://…`, whatever fsspec knows), or a zarr store."""
    if not isinstance(where, str | os.PathLike):
        return RemotePlace(where, str(where))
    text = os.fspath(where)
    if "://" not in text:
        return LocalPlace(Path(text))
    return RemotePlace(_zarr_store(text), text)


def _zarr_store(url: str) -> "ZarrStore":
    scheme = url.split("://", 1)[0]
    try:
        if scheme in _OBSTORE_SCHEMES:
            import obstore.store
            from zarr.storage import ObjectStore

            return ObjectStore(obstore.store.from_url(url))
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(url)
    except ImportError as error:
        raise StoreError(
            f"{url}: needs the package {error.name}. Install it with `pip install "
            f"'telltale[cloud]'` (and the fsspec driver of {scheme}://, where it has its own)."
        ) from error
    except ValueError as error:
        raise BadInput(f"{url}: {error}. Give a folder's path or a URL such as s3://…") from error


class LocalPlace:
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
        with contextlib.suppress(FileNotFoundError):
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


class RemotePlace:
    """Anything behind zarr's store interface: object stores, fsspec file systems, memory."""

    def __init__(self, store: "ZarrStore", name: str) -> None:
        self.store = store
        self.name = name

    def get(self, key: str) -> bytes | None:
        return self._run(lambda: self._get(key))

    async def _get(self, key: str) -> bytes | None:
        from zarr.core.buffer import default_buffer_prototype

        value = await self.store.get(key, default_buffer_prototype())
        return None if value is None else value.to_bytes()

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        async def gather() -> list[bytes | None]:
            gate = asyncio.Semaphore(_REQUESTS_AT_ONCE)

            async def one(key: str) -> bytes | None:
                async with gate:
                    return await self._get(key)

            return await asyncio.gather(*(one(key) for key in keys))

        return self._run(gather)

    def read_into(self, key: str, targets: Sequence[memoryview]) -> int | None:
        value = self.get(key)
        if value is None:
            return None
        start = 0
        for target in targets:
            part = value[start : start + target.nbytes]
            target[: len(part)] = part
            start += target.nbytes
        return len(value)

    def size(self, key: str) -> int | None:
        async def size() -> int | None:
            return await self.store.getsize(key) if await self.store.exists(key) else None

        return self._run(size)

    def put(self, key: str, buffers: Buffers) -> None:
        self._write(key, self.store.set, buffers)

    def put_new(self, key: str, buffers: Buffers) -> None:
        self._write(key, self.store.set_if_not_exists, buffers)

    def _write(
        self, key: str, write: Callable[..., Awaitable[None]], buffers: Buffers
    ) -> None:
        from zarr.core.buffer.cpu import Buffer

        async def send() -> None:
            await write(key, Buffer.from_bytes(b"".join(buffers)))

        try:
            self._run(send)
        except Exception as error:  # each driver raises its own kinds
            raise WriteFailed(
                f"{self.name}/{key}: {type(error).__name__}: {error}. Nothing committed is lost; "
                f"run the same command again."
            ) from error

    def delete(self, key: str) -> None:
        self._run(lambda: self.store.delete(key))

    def delete_tree(self, prefix: str) -> None:
        self._run(lambda: self.store.delete_dir(prefix))

    def children(self, prefix: str) -> list[str]:
        async def names() -> list[str]:
            return sorted({name.strip("/") async for name in self.store.list_dir(prefix)})

        return self._run(names)

    def walk(self, prefix: str) -> Iterator[str]:
        async def keys() -> list[str]:
            return [key async for key in self.store.list_prefix(f"{prefix}/" if prefix else "")]

        return iter(self._run(keys))

    @contextlib.contextmanager
    def alone(self, prefix: str) -> Iterator[None]:
        key = f"{prefix}/{LEASE}"
        mine = f"process {os.getpid()} on {socket.gethostname()} ({secrets.token_hex(4)})".encode()
        self.put_new(key, [mine])
        holder = self.get(key)
        if holder != mine:
            raise StoreError(
                f"{self.name}/{prefix} is being extended by {(holder or b'another').decode()}. "
                f"Wait for it; if it is dead, `telltale store gc` removes its lease."
            )
        try:
            yield
        finally:
            self.delete(key)

    @staticmethod
    def _run(work: Callable[[], Coroutine[None, None, T]]) -> T:
        # zarr's stores are bound to zarr's own event loop; this is its way in.
        from zarr.core.sync import sync

        return sync(work())
