"""Places that are not a folder: object stores, fsspec file systems, memory.

Everything goes through zarr's store interface, which all of them have.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from features_store.errors import BadInput, StoreError, WriteFailed
from features_store.installing import how_to_install
from features_store.places import LEASE, Buffers, Place, View

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

T = TypeVar("T")
_REQUESTS_AT_ONCE = 64
_OBSTORE_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")


def open_url(url: str) -> "ZarrStore":
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
            f"{url}: needs a package that is not installed, {error.name or 'of this scheme'}: "
            f"{how_to_install('cloud')} (and the fsspec driver of {scheme}://, where it has one)."
        ) from error
    except ValueError as error:
        raise BadInput(f"{url}: {error}. Give a folder's path or a URL such as s3://…") from error


class RemotePlace(Place):
    """Anything behind zarr's store interface: object stores, fsspec file systems, memory."""

    def __init__(self, store: "ZarrStore", name: str) -> None:
        super().__init__(name)
        self.store = store

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

    def view(self, key: str) -> View | None:
        value = self.get(key)
        return None if value is None else View(memory=memoryview(value), identity=None)

    def size(self, key: str) -> int | None:
        async def size() -> int | None:
            return await self.store.getsize(key) if await self.store.exists(key) else None

        return self._run(size)

    def put(self, key: str, buffers: Buffers) -> None:
        self._write(key, self.store.set, buffers)

    def put_new(self, key: str, buffers: Buffers) -> None:
        self._write(key, self.store.set_if_not_exists, buffers)

    def _write(self, key: str, write: Callable[..., Awaitable[None]], buffers: Buffers) -> None:
        from zarr.core.buffer.cpu import Buffer

        async def send() -> None:
            await write(key, Buffer.from_bytes(b"".join(buffers)))

        try:
            self._run(send)
        except StoreError as error:
            raise WriteFailed(f"{key}: not written; nothing committed is lost. {error}") from error

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

    def _run(self, work: Callable[[], Coroutine[None, None, T]]) -> T:
        # zarr's stores are bound to zarr's own event loop; this is its way in.
        from zarr.core.sync import sync

        try:
            return sync(work())
        except Exception as error:  # each driver raises its own kinds
            reason = str(error).split("\n")[0]
            raise StoreError(
                f"{self.name}: {type(error).__name__}: {reason}. Check the address, the "
                f"credentials and the network, then run the same command again."
            ) from error
