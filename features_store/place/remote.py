"""Places that are not a folder: object stores to read and write, everything else to read.

Reading goes through zarr's store interface, which all of them have. Writing needs more than that:
a value must only be replaced where it is still the one that was read, and only object stores can
promise it (S3, Google, Azure; by `If-Match` and `If-None-Match`). They are written through
obstore; what cannot promise it is refused.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from features_store.errors import BadInput, Overtaken, ReadFailed, StoreError, WriteFailed
from features_store.installing import how_to_install
from features_store.place.place import PROBE, Buffers, Place, Value, Version, View

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

T = TypeVar("T")
_REQUESTS_AT_ONCE = 64
_KEYS_AT_ONCE = 1000
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
    """Anything behind zarr's store interface."""

    locks = False

    def __init__(self, store: "ZarrStore", name: str) -> None:
        super().__init__(name)
        self.store = store
        self._proven: Any = None

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
        return None if value is None else View(memory=memoryview(value))

    def read(self, key: str) -> Value:
        import obstore

        def get() -> Value:
            found = obstore.get(self._writable(), key)
            return Value(content=bytes(found.bytes()), version=_version(found.meta))

        found = self._asked(get)
        return found or Value(content=None, version=None)

    def version(self, key: str) -> Version:
        import obstore

        return self._asked(lambda: _version(obstore.head(self._writable(), key)))

    def size(self, key: str) -> int | None:
        async def size() -> int | None:
            return await self.store.getsize(key) if await self.store.exists(key) else None

        return self._run(size)

    def put(self, key: str, buffers: Buffers) -> None:
        import obstore

        self._put(lambda: obstore.put(self._writable(), key, b"".join(buffers)), key)

    def put_new(self, key: str, buffers: Buffers) -> None:
        with contextlib.suppress(Overtaken):
            self.swap(key, buffers, None)

    def swap(self, key: str, buffers: Buffers, seen: Version) -> Version:
        import obstore

        store, content = self._writable(), b"".join(buffers)
        mode: Any = "create" if seen is None else dict(seen)
        try:
            written = self._put(lambda: obstore.put(store, key, content, mode=mode), key)
        except Overtaken:
            there = self.read(key)
            if there.content != content:
                raise
            return there.version  # a request that was sent twice was itself the quicker one
        return _version(written)

    def lock(self, key: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def delete(self, *keys: str) -> None:
        import obstore

        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = list(keys[start : start + _KEYS_AT_ONCE])
            self._asked(partial(obstore.delete, self._writable(), some))

    def delete_tree(self, prefix: str) -> None:
        self.delete(*self.walk(prefix))

    def children(self, prefix: str) -> list[str]:
        async def names() -> list[str]:
            return sorted({name.strip("/") async for name in self.store.list_dir(prefix)})

        return self._run(names)

    def walk(self, prefix: str) -> Iterator[str]:
        async def keys() -> list[str]:
            return [key async for key in self.store.list_prefix(f"{prefix}/" if prefix else "")]

        return iter(self._run(keys))

    def age(self, key: str) -> float | None:
        import obstore

        found = self._asked(lambda: obstore.head(self._writable(), key))
        return None if found is None else time.time() - found["last_modified"].timestamp()

    def _writable(self) -> Any:  # noqa: ANN401 (obstore is untyped)
        """The object store, once it has shown that it compares before it replaces."""
        if self._proven is None:
            self._proven = _prove(self.store, self.name)
        return self._proven

    def _put(self, write: Callable[[], T], key: str) -> T:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            return write()
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            raise Overtaken(
                f"{self.name}/{key}: others write it all the time. Start fewer of them, then run "
                f"the same command again."
            ) from error
        except StoreError:
            raise
        except Exception as error:
            if "ConditionalRequestConflict" in str(error):  # S3, for two at the same moment
                raise Overtaken(f"{self.name}/{key}: two writers at the same moment.") from error
            raise WriteFailed(
                f"{key}: not written; nothing committed is lost. {_words(self.name, error)}"
            ) from error

    def _asked(self, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except FileNotFoundError:
            return None
        except StoreError:
            raise
        except Exception as error:  # each driver raises its own kinds
            raise ReadFailed(_words(self.name, error)) from error

    def _run(self, work: Callable[[], Coroutine[None, None, T]]) -> T:
        # zarr's stores are bound to zarr's own event loop; this is its way in.
        from zarr.core.sync import sync

        try:
            return sync(work())
        except Exception as error:  # each driver raises its own kinds
            raise ReadFailed(_words(self.name, error)) from error


def _prove(store: "ZarrStore", name: str) -> Any:  # noqa: ANN401 (obstore is untyped)
    """See with a small object whether the server honours conditions; some ignore them."""
    from zarr.storage import ObjectStore

    if not isinstance(store, ObjectStore):
        raise WriteFailed(
            f"{name} can be read and not written: {type(store).__name__} cannot replace a value "
            f"on condition that it is still the one that was read, so two writers could mix. "
            f"Write to a folder or to s3://, gs:// or az://, or mount it as a folder."
        )
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    key = f"{PROBE}{secrets.token_hex(8)}"

    def refused(content: bytes, mode: Any) -> bool:  # noqa: ANN401 (obstore is untyped)
        try:
            obstore.put(store.store, key, content, mode=mode)
        except (AlreadyExistsError, PreconditionError):
            return True
        return False

    try:
        first = dict(_version(obstore.put(store.store, key, b"1", mode="create")) or {})
        honoured = refused(b"2", "create") and not refused(b"3", first) and refused(b"4", first)
        obstore.delete(store.store, key)
    except (BaseError, OSError, NotImplementedError, TypeError) as error:
        raise WriteFailed(
            f"{name} cannot be written: {_words(name, error)} (If it does not know conditional "
            f"writes, `If-Match`: write to a folder, or to a service that does.)"
        ) from error
    if not honoured:
        raise WriteFailed(
            f"{name} ignores the conditions of conditional writes (`If-None-Match`, `If-Match`), "
            f"so two writers could mix. Write to a folder, or to a service that honours them."
        )
    return store.store


def _version(meta: Any) -> Version:  # noqa: ANN401 (obstore is untyped)
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}


def _words(name: str, error: BaseException) -> str:
    reason = str(error).split("\n", 1)[0]
    return (
        f"{name}: {type(error).__name__}: {reason}. Check the address, the credentials and the "
        f"network, then run the same command again."
    )
