"""One Zarr array cut into chunks of whole rows: its document, and chunk bytes to NumPy and back.

An uncompressed chunk is its numbers, row after row, then four bytes of crc32c, so a mapped file is
an array already: no decoder, no copy. Every chunk is written in full, the
last one padded, so the right size of every file is known and a missing or short one is an error
(zarr itself would answer with fill values).
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import crc32c
import numpy as np

from features_store import documents
from features_store.documents import Json
from features_store.errors import Damaged
from features_store.place import Buffers, Place, View

Array = np.ndarray[Any, np.dtype[Any]]

CRC_BYTES = 4
_BLOCK = 2**22  # fits a big cache, and threads seldom wait for each other
_ZSTD_LEVEL = 1
_RELEASE_GIL = 1  # crc32c computes beside other threads


@dataclass(frozen=True, slots=True)
class ChunkedArray:
    """An array of a store. Its first axis is videos; a chunk holds `rows` of them."""

    place: Place
    prefix: str
    dtype: str
    rows: int
    row_shape: tuple[int, ...] = ()
    compression: str = "none"
    fill: str | int | float = 0
    separator: str = "."

    def key(self, chunk: int) -> str:
        parts = ["c", str(chunk), *("0" for _ in self.row_shape)]
        return f"{self.prefix}/{self.separator.join(parts)}"

    def where(self, chunk: int) -> str:
        return f"{self.place.name}/{self.key(chunk)}"

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        if self.dtype == "string":
            return np.dtypes.StringDType()
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def chunk_bytes(self) -> int:
        """Of the numbers in one chunk; strings have no fixed size."""
        return self.rows * math.prod(self.row_shape) * self.numpy_dtype.itemsize

    def document(self, length: int, attributes: Json | None = None) -> Json:
        if self.dtype == "string":
            codecs: list[Json] = [{"name": "vlen-utf8"}]
        elif np.dtype(self.dtype).itemsize == 1:
            codecs = [{"name": "bytes"}]
        else:
            codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if self.compression == "zstd":
            level = {"level": _ZSTD_LEVEL, "checksum": False}
            codecs.append({"name": "zstd", "configuration": level})
        codecs.append({"name": "crc32c"})
        fill: float | str = self.fill
        if isinstance(fill, float):
            fill = "NaN" if math.isnan(fill) else float(fill)
        return documents.array(
            shape=(length, *self.row_shape),
            chunk=(self.rows, *self.row_shape),
            data_type=self.dtype,
            fill=fill,
            codecs=codecs,
            names=["video", *(f"axis{i + 1}" for i in range(len(self.row_shape)))],
            separator=self.separator,
            attributes=attributes,
        )

    def read(self, chunk: int, named: "Named" = None, *, mapped: bool = True) -> Array:
        """The rows of a chunk, padding included, checked. Numbers come as a read-only view.

        Without `mapped` bytes are read rather than mapped: a failing disk then raises.
        """
        if self.dtype == "string":
            return self._decode_strings(chunk, self._checked_body(chunk, named))
        if self.compression != "none":
            return self._decompress(chunk, named)
        if not mapped:
            return self.decode(chunk, self._content(chunk), named)
        return self.rows_of(chunk, named)

    def rows_of(self, chunk: int, named: "Named" = None, *, verify: bool = True) -> Array:
        """The same for numbers, checked at most once in this process while its file is the same."""
        if self.compression != "none":
            return self._decompress(chunk, named)
        view = self._view(chunk)
        body, stored = self._split(chunk, view.memory)
        if verify and not view.intact:
            self._check_crc(chunk, _crc(body), stored)
            view.found_intact()
        self._check_named(chunk, stored, named)
        return self._numbers(body)

    def decode(self, chunk: int, value: memoryview | bytes, named: "Named" = None) -> Array:
        """Numbers from an uncompressed chunk's bytes, without a copy."""
        body, stored = self._split(chunk, value)
        self._check_crc(chunk, _crc(body), stored)
        self._check_named(chunk, stored, named)
        return self._numbers(body)

    def copy(
        self, chunk: int, pieces: "Sequence[Piece]", named: "Named" = None, *, verify: bool = True
    ) -> None:
        """Copy runs of rows (ascending) into place.

        The whole chunk is checked on the way, once in this process for as long as its file stays
        the same. Where this raises, the pieces hold nothing to be used.
        """
        if self.compression != "none":
            whole = self.read(chunk, named)
            for piece in pieces:
                piece.out[:] = whole[piece.first : piece.first + len(piece.out)]
            return
        view = self._view(chunk)
        verify = verify and not view.intact
        body, stored = self._split(chunk, view.memory)
        self._check_named(chunk, stored, named)
        row = self.chunk_bytes // self.rows
        crc = position = 0
        for piece in pieces:
            start = piece.first * row
            crc = _crc(body[position:start], start=crc) if verify else 0
            position = start + piece.out.nbytes
            crc = _copy(body[start:position], piece.out, crc, verify=verify)
        if verify:
            self._check_crc(chunk, _crc(body[position:], start=crc), stored)
            view.found_intact()

    def encode(self, data: Array) -> "Encoded":
        """Rows 0 … len(data) of a chunk as its bytes; the rest is padding."""
        body: list[memoryview | bytes]
        if self.dtype == "string":
            body = [_encode_strings(data, self.rows)]
        else:
            data = np.ascontiguousarray(data, self.numpy_dtype)
            pad = np.full((self.rows - len(data), *self.row_shape), self.fill, self.numpy_dtype)
            body = [_bytes(part) for part in (data, pad)]
            if self.compression == "zstd":
                body = [_zstd().encode(b"".join(body))]
        crc = _crc(*body)
        return Encoded(buffers=[*body, crc.to_bytes(CRC_BYTES, "little")], crc=crc)

    def _content(self, chunk: int) -> bytes:
        value = self.place.get(self.key(chunk))
        if value is None:
            raise Damaged(self.where(chunk), "the file is missing")
        return value

    def _checked_body(self, chunk: int, named: "Named") -> bytes:
        """A chunk's bytes without their crc; for chunks whose size is not known beforehand."""
        value = self._content(chunk)
        if len(value) < CRC_BYTES:
            raise Damaged(self.where(chunk), f"the file is cut off at {len(value)} bytes")
        body = value[:-CRC_BYTES]
        self._check_crc(chunk, _crc(body), value[-CRC_BYTES:])
        self._check_named(chunk, value[-CRC_BYTES:], named)
        return body

    def _decode_strings(self, chunk: int, body: bytes) -> Array:
        from numcodecs.vlen import VLenUTF8

        try:
            strings = VLenUTF8().decode(body)
        except (ValueError, UnicodeDecodeError) as error:
            raise Damaged(self.where(chunk), f"not a chunk of strings ({error})") from error
        if len(strings) != self.rows:
            raise Damaged(self.where(chunk), f"{len(strings)} strings instead of {self.rows}")
        return np.asarray(strings, self.numpy_dtype)

    def _decompress(self, chunk: int, named: "Named") -> Array:
        body = self._checked_body(chunk, named)
        try:
            flat = np.frombuffer(_zstd().decode(body), self.numpy_dtype)
            return flat.reshape(self.rows, *self.row_shape)
        except (ValueError, RuntimeError) as error:
            raise Damaged(self.where(chunk), f"does not decompress ({error})") from error

    def _numbers(self, body: memoryview) -> Array:
        return np.frombuffer(body, self.numpy_dtype).reshape(self.rows, *self.row_shape)

    def _view(self, chunk: int) -> View:
        view = self.place.view(self.key(chunk))
        if view is None:
            raise Damaged(self.where(chunk), "the file is missing")
        return view

    def _split(self, chunk: int, value: memoryview | bytes) -> tuple[memoryview, memoryview]:
        expected = self.chunk_bytes + CRC_BYTES
        if len(value) != expected:
            raise Damaged(self.where(chunk), f"{len(value)} bytes instead of {expected}")
        return memoryview(value)[:-CRC_BYTES], memoryview(value)[-CRC_BYTES:]

    def _check_crc(self, chunk: int, crc: int, stored: memoryview | bytes) -> None:
        if crc != int.from_bytes(stored, "little"):
            raise Damaged(self.where(chunk), "the checksum does not fit the bytes")

    def _check_named(self, chunk: int, stored: memoryview | bytes, named: "Named") -> None:
        if named is not None and int.from_bytes(stored, "little") not in named:
            raise Damaged(self.where(chunk), "it is another chunk than the one that was committed")


Named = Collection[int] | None
"""Checksums that a chunk may have, as its record names them; None where there is no record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A chunk as it is stored."""

    buffers: Buffers
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Consecutive rows of a chunk, and where they go."""

    first: int
    out: Array


def _copy(source: memoryview, out: Array, crc: int, *, verify: bool) -> int:
    """Copy, taking the checksum of each block while it is in the processor's cache."""
    target = np.frombuffer(_bytes(out), np.uint8)
    numbers = np.frombuffer(source, np.uint8)
    for start in range(0, len(source), _BLOCK):
        stop = start + _BLOCK
        if verify:
            crc = _crc(source[start:stop], start=crc)
        target[start:stop] = numbers[start:stop]
    return crc


def _bytes(array: Array) -> memoryview:
    # A memoryview cannot cast what has no elements.
    return memoryview(array.data).cast("B") if array.size else memoryview(b"")


def _crc(*parts: bytes | memoryview, start: int = 0) -> int:
    value = start
    for part in parts:
        value = crc32c.crc32c(part, value, gil_release_mode=_RELEASE_GIL)
    return value


def _encode_strings(strings: Sequence[str] | Array, rows: int) -> bytes:
    from numcodecs.vlen import VLenUTF8

    padded = np.full(rows, "", object)
    padded[: len(strings)] = strings
    return bytes(VLenUTF8().encode(padded))


def _zstd() -> Any:  # noqa: ANN401 (numcodecs is untyped)
    from numcodecs.zstd import Zstd

    return Zstd(level=_ZSTD_LEVEL)
