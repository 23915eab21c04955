"""The chunks of the videos table, and the document that is their commit record.

The group's document holds the number of videos and, in format 2, the checksum of every chunk. It is
written last. Writers are kept apart as those of shards are (`shard_writer`): first the document
names the chunks to come beside those that are there, at the end the new ones alone.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from features_store import documents
from features_store.chunks import Array, ChunkedArray, Encoded
from features_store.documents import Json
from features_store.errors import Damaged, Overtaken
from features_store.place import Place
from features_store.place.begun import Begun, patiently
from features_store.place.place import Buffers, Version
from features_store.schema import Layout

PREFIX = "videos"
CHUNK_ROWS = 16_384
LOCK = f"{PREFIX}/id/.lock"
_LOOKS = 3

Chunks = dict[str, list[list[str]]]
"""Per column, per chunk, the checksums that it may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The table's document as a writer found it."""

    attributes: Json
    version: Version

    @property
    def count(self) -> int:
        return int(self.attributes["count"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One chunk that is replaced, and what was there when the writer looked."""

    column: str
    chunk: int
    encoded: Encoded
    seen: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """What an append changes beside chunks."""

    count: int
    documents: Mapping[str, Version] = field(default_factory=dict)
    """Column → the version that its document had."""


@dataclass(frozen=True, slots=True)
class VideoFiles:
    """What is stored of the videos table."""

    place: Place
    layout: Layout

    def array(self, name: str) -> ChunkedArray:
        column = self.layout.columns[name]
        return ChunkedArray(
            self.place,
            f"{PREFIX}/{name}",
            column.dtype,
            CHUNK_ROWS,
            fill=column.fill,
            separator=self.layout.separator,
        )

    def attributes(self) -> Json:
        """What the document says now."""
        return self._head().attributes

    def begin(self) -> Head:
        """What the document says now; where another writer has begun, it may finish first."""

        def look() -> tuple[Json, str, Version]:
            head = self._head(versioned=True)
            return head.attributes, str(head.attributes.get("writer", "")), head.version

        attributes, version = patiently(self.place, look)
        return Head(attributes=attributes, version=version)

    def _head(self, *, versioned: bool = False) -> Head:
        version: Version = None
        if versioned:
            document, version = documents.read_with_version(self.place, PREFIX)
        else:
            document = documents.read(self.place, PREFIX)
        if document is None:
            raise Damaged(f"{self.place.name}/{PREFIX}/zarr.json", "the file is missing")
        return Head(attributes=documents.attributes(document), version=version)

    def read(self, attributes: Json, name: str, chunk: int, *, mapped: bool = True) -> Array:
        """A chunk of a column, which the document has to name: as it was, or as it is now."""
        array = self.array(name)
        for look in range(_LOOKS):
            try:
                return array.read(chunk, _named(attributes, name, chunk), mapped=mapped)
            except Damaged:
                if look == _LOOKS - 1:
                    raise
                attributes = self.attributes()
        raise AssertionError  # the last look has raised

    def read_before(self, head: Head, name: str, chunk: int) -> tuple[Array, Version]:
        """A chunk that is about to be replaced, and its version."""
        array = self.array(name)
        seen = self.place.version(array.key(chunk))
        try:
            return array.read(chunk, _named(head.attributes, name, chunk)), seen
        except Damaged as damage:
            if self.place.locks or self._head(versioned=True).version == head.version:
                raise
            raise Overtaken(f"{damage.place}: it was being replaced.") from damage

    def replace(self, head: Head, changes: Sequence[Change], grown: Grown | None = None) -> Json:
        """Commit changed chunks; what the document says afterwards."""
        before = dict(head.attributes)
        if grown and self.layout.records:  # a killed append may have named chunks behind these
            there = -(-head.count // CHUNK_ROWS)
            before["chunks"] = {name: each[:there] for name, each in before["chunks"].items()}
        chunks = _after(before, changes)
        word = self._begun(head, before, chunks)
        with word.since(head.version) if self.layout.records else nullcontext():
            for change in changes:
                key = self.array(change.column).key(change.chunk)
                self.place.swap(key, change.encoded.buffers, change.seen)
            if grown:
                before["count"] = grown.count
                for name, seen in grown.documents.items():
                    array = self.array(name)
                    documents.swap(self.place, array.prefix, array.document(grown.count), seen)
        before.pop("writer", None)
        if self.layout.records:
            before["chunks"] = chunks
        documents.swap(self.place, PREFIX, documents.group(before), word.version)
        return before

    def _begun(self, head: Head, before: Json, after: Chunks) -> Begun:
        """The document while chunks are being written."""
        begun = {**before, "count": head.count}
        if self.layout.records:
            begun["chunks"] = _either(head.attributes["chunks"], after)

        def encode(writer: str) -> Buffers:
            return [documents.encode(documents.group({**begun, "writer": writer}))]

        return Begun(self.place, documents.document_key(PREFIX), encode)


def _named(attributes: Json, name: str, chunk: int) -> frozenset[int] | None:
    """Checksums that the document allows a chunk; None in format 1."""
    if "chunks" not in attributes:
        return None
    column = attributes["chunks"][name]
    return frozenset(int(crc, 16) for crc in column[chunk]) if chunk < len(column) else frozenset()


def _after(attributes: Json, changes: Sequence[Change]) -> Chunks:
    """What the document names once the changes are made."""
    chunks = {name: list(column) for name, column in attributes.get("chunks", {}).items()}
    for change in changes:
        column = chunks.setdefault(change.column, [])
        column[change.chunk : change.chunk + 1] = [[f"{change.encoded.crc:08x}"]]
    return chunks


def _either(before: Chunks, after: Chunks) -> Chunks:
    """What it names while chunks are being written."""
    return {
        name: [
            sorted({*before[name][chunk], *crcs}) if chunk < len(before.get(name, ())) else crcs
            for chunk, crcs in enumerate(column)
        ]
        for name, column in after.items()
    }
