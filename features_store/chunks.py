"""One Zarr array cut into chunks of whole rows: its document, and chunk bytes to NumPy and back.

An uncompressed chunk is its numbers, row after row, then four bytes of crc32c, so it is read
straight into the array that wants it: no decoder, no copy. Every chunk is written in full, the
last one padded, so the right size of every file is known and a missing or short one is an error
(zarr itself would answer with fill values).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import crc32c
import numpy as np

from features_store import documents
from features_store.documents import Json
from features_store.errors import Damaged
from features_store.places import Buffers, Place

Array = np.ndarray[Any, np.dtype[Any]]

CRC_BYTES = 4
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

    def key(self, chunk: int) -> str:
        return f"{self.prefix}/c/{'/'.join([str(chunk), *('0' for _ in self.row_shape)])}"

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
            attributes=attributes,
        )

    def write(self, chunk: int, data: Array) -> None:
        """Write rows 0 … len(data) of a chunk; the rest is padding."""
        self.place.put(self.key(chunk), self._encode(data))

    def read(self, chunk: int, count: int, *, verify: bool = True) -> Array:
        """The first `count` rows of a chunk, in memory of their own."""
        if self.dtype == "string":
            return self._decode_strings(chunk, self._value(chunk))[:count]
        out = np.empty((count, *self.row_shape), self.numpy_dtype)
        self.read_into(chunk, 0, out, verify=verify)
        return out

    def read_into(self, chunk: int, first: int, out: Array, *, verify: bool = True) -> None:
        """Fill `out` (contiguous numbers) with the chunk's rows from `first` on."""
        if self.compression != "none":
            self._decompress_into(chunk, first, out)
            return
        row = self.chunk_bytes // self.rows
        before = bytearray(first * row)
        after = bytearray(self.chunk_bytes - (first + len(out)) * row + CRC_BYTES)
        target = _bytes(out)
        views = [memoryview(before), target, memoryview(after)]
        size = self.place.read_into(self.key(chunk), views if verify else views[:2])
        self._check_size(chunk, size)
        if verify:
            crc = _crc(before, target, memoryview(after)[:-CRC_BYTES])
            self._check_crc(chunk, crc, bytes(after[-CRC_BYTES:]))

    def decode(self, chunk: int, value: bytes) -> Array:
        """Numbers from an uncompressed chunk's bytes, however they were fetched."""
        self._check_size(chunk, len(value))
        body = memoryview(value)[:-CRC_BYTES]
        self._check_crc(chunk, _crc(body), value[-CRC_BYTES:])
        return np.frombuffer(body, self.numpy_dtype).reshape(self.rows, *self.row_shape)

    def check(self, chunk: int) -> None:
        """Raise Damaged where the chunk is not what was written."""
        if self.dtype == "string":
            self._decode_strings(chunk, self._value(chunk))
        elif self.compression != "none":
            self._decompress(chunk)
        else:
            self.read_into(chunk, 0, np.empty((0, *self.row_shape), self.numpy_dtype))

    def exists(self, chunk: int) -> bool:
        return self.place.size(self.key(chunk)) is not None

    def _encode(self, data: Array) -> Buffers:
        body: list[memoryview | bytes]
        if self.dtype == "string":
            body = [_encode_strings(data, self.rows)]
        else:
            data = np.ascontiguousarray(data, self.numpy_dtype)
            pad = np.full((self.rows - len(data), *self.row_shape), self.fill, self.numpy_dtype)
            body = [_bytes(part) for part in (data, pad)]
            if self.compression == "zstd":
                body = [_zstd().encode(b"".join(body))]
        return [*body, _crc(*body).to_bytes(CRC_BYTES, "little")]

    def _value(self, chunk: int) -> bytes:
        """The chunk's checked bytes without their crc; for arrays without a fixed size."""
        value = self.place.get(self.key(chunk))
        if value is None:
            raise Damaged(self.where(chunk), "the file is missing")
        if len(value) < CRC_BYTES:
            raise Damaged(self.where(chunk), f"the file is cut off at {len(value)} bytes")
        body: bytes = value[:-CRC_BYTES]
        self._check_crc(chunk, _crc(body), value[-CRC_BYTES:])
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

    def _decompress(self, chunk: int) -> Array:
        body = self._value(chunk)
        try:
            flat = np.frombuffer(_zstd().decode(body), self.numpy_dtype)
            return flat.reshape(self.rows, *self.row_shape)
        except (ValueError, RuntimeError) as error:
            raise Damaged(self.where(chunk), f"does not decompress ({error})") from error

    def _decompress_into(self, chunk: int, first: int, out: Array) -> None:
        out[:] = self._decompress(chunk)[first : first + len(out)]

    def _check_size(self, chunk: int, size: int | None) -> None:
        expected = self.chunk_bytes + CRC_BYTES
        if size is None:
            raise Damaged(self.where(chunk), "the file is missing")
        if size != expected:
            raise Damaged(self.where(chunk), f"{size} bytes instead of {expected}")

    def _check_crc(self, chunk: int, crc: int, stored: bytes) -> None:
        if crc != int.from_bytes(stored, "little"):
            raise Damaged(self.where(chunk), "the checksum does not fit the bytes")


def _bytes(array: Array) -> memoryview:
    # A memoryview cannot cast what has no elements.
    return memoryview(array.data).cast("B") if array.size else memoryview(b"")


def _crc(*parts: bytes | bytearray | memoryview) -> int:
    value = 0
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
