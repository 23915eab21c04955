"""The commit record of a shard: its videos' statuses, and which chunks they speak of.

In format 2 a status chunk is a Zarr shard (codec `sharding_indexed`) with one inner chunk, the
statuses, so that every Zarr reader finds them; the index at its end names where they lie. Between
the two, where other readers do not look, stands the record:

    statuses, crc32c | {"branch": …, "shard": …, "chunks": {"cls": ["9ae0daaf"]}}, crc32c | index

The second crc32c is taken of everything before it. `chunks` holds the checksum that each data
chunk carries in its own last four bytes: a chunk that is not the one committed is noticed however
whole it is. While a writer replaces chunks two checksums stand there, both of chunks that hold
what the statuses say, and `writer` names who is at it.

In format 1 a status chunk is the statuses and their crc32c alone.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import crc32c
import numpy as np

from features_store.chunks import CRC_BYTES, Array, ChunkedArray, Named
from features_store.documents import Json
from features_store.errors import Damaged
from features_store.place import Place
from features_store.schema import Layout, Status

Chunks = Mapping[str, frozenset[int]]
"""Array → the checksums that its chunk may have."""

_LOCKS = 16
"""Lock files of a branch: so many shards of it can be committed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is committed of one shard."""

    status: Array
    """One per row of a full shard; rows that are no videos yet are MISSING."""
    chunks: Chunks | None
    """None in format 1, which does not name them."""
    writer: str = ""
    """Who has begun to change the shard, and has not finished."""

    def named(self, array: str) -> Named:
        return None if self.chunks is None else self.chunks.get(array, frozenset())


@dataclass(frozen=True)
class Records:
    """The `status` array of a branch, chunk by chunk."""

    place: Place
    branch: str
    """The branch's prefix."""
    rows: int
    layout: Layout

    @property
    def prefix(self) -> str:
        return f"{self.branch}/status"

    def key(self, shard: int) -> str:
        return self._plain.key(shard)

    def where(self, shard: int) -> str:
        return self._plain.where(shard)

    def lock(self, shard: int) -> str:
        """The key of the lock that a shard's writer holds."""
        return f"{self.prefix}/.lock-{shard % _LOCKS}"

    def document(self, length: int, attributes: Json | None = None) -> Json:
        document = self._plain.document(length, attributes)
        if self.layout.records:
            sharding = {
                "chunk_shape": [self.rows],
                "codecs": document["codecs"],
                "index_codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "crc32c"},
                ],
                "index_location": "end",
            }
            document["codecs"] = [{"name": "sharding_indexed", "configuration": sharding}]
        return document

    def encode(self, shard: int, record: Record) -> bytes:
        statuses = b"".join(self._plain.encode(record.status).buffers)
        if not self.layout.records:
            return statuses
        chunks = {
            name: [f"{crc:08x}" for crc in sorted(crcs)]
            for name, crcs in sorted((record.chunks or {}).items())
        }
        written: Json = {"chunks": chunks, **({"writer": record.writer} if record.writer else {})}
        text = json.dumps(written, separators=(",", ":"))
        body = statuses + self._start(shard) + text[1:].encode()
        return body + _crc(body) + self._index

    def status(self, shard: int, value: bytes) -> Array:
        """The statuses of a chunk's bytes, checked against everything in it."""
        if not self.layout.records:
            status = self._plain.decode(shard, value)
        else:
            body = value[: -len(self._index) - CRC_BYTES]
            rest = value[len(body) :]
            if rest != _crc(body) + self._index:
                raise Damaged(self.where(shard), "the checksum does not fit the bytes")
            size = self.rows + CRC_BYTES
            status = self._plain.decode(shard, body[:size])
            if not body.startswith(self._start(shard), size):
                raise Damaged(self.where(shard), "it is the record of another shard")
        if (status > Status.FAILED).any():
            raise Damaged(self.where(shard), "holds a status that does not exist")
        return status

    def decode(self, shard: int, value: bytes) -> Record:
        status = self.status(shard, value)
        if not self.layout.records:
            return Record(status=status, chunks=None)
        try:
            text = value[self.rows + CRC_BYTES : -len(self._index) - CRC_BYTES]
            written = json.loads(text)
            chunks = {
                str(name): frozenset(int(crc, 16) for crc in crcs)
                for name, crcs in written["chunks"].items()
            }
            return Record(status=status, chunks=chunks, writer=str(written.get("writer", "")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(self.where(shard), f"not a record of this format ({error})") from error

    def empty(self) -> Record:
        """Of a shard that was never committed."""
        chunks: Chunks | None = {} if self.layout.records else None
        return Record(status=np.zeros(self.rows, np.uint8), chunks=chunks)

    @cached_property
    def _plain(self) -> ChunkedArray:
        return ChunkedArray(
            self.place, self.prefix, "uint8", self.rows, separator=self.layout.separator
        )

    @cached_property
    def _index(self) -> bytes:
        """The Zarr shard's index: one inner chunk, at the start."""
        index = struct.pack("<QQ", 0, self.rows + CRC_BYTES)
        return index + _crc(index)

    def _start(self, shard: int) -> bytes:
        return self._start_of_all % shard

    @cached_property
    def _start_of_all(self) -> bytes:
        """How every record of the branch begins; `%d` stands for the shard."""
        branch = json.dumps(self.branch).replace("%", "%%")
        return f'{{"branch":{branch},"shard":%d,'.encode()


def _crc(content: bytes) -> bytes:
    return int(crc32c.crc32c(content)).to_bytes(CRC_BYTES, "little")
