"""Which chunks of the videos table its document names, by their checksums."""

from collections.abc import Sequence

from features_store.chunks import ChunkedArray, Encoded
from features_store.documents import Json
from features_store.place.place import Version


def named(attributes: Json, name: str, chunk: int) -> frozenset[int] | None:
    """Checksums that the document allows a chunk; None in format 1."""
    if "chunks" not in attributes:
        return None
    column = attributes["chunks"][name]
    return frozenset(int(crc, 16) for crc in column[chunk]) if chunk < len(column) else frozenset()


Changes = Sequence[tuple[ChunkedArray, int, Version, Encoded]]
Chunks = dict[str, list[list[str]]]


def after(attributes: Json, changes: Changes) -> Chunks:
    """The document's `chunks` once the changes are made: per column, per chunk, its checksums."""
    chunks = {name: list(column) for name, column in attributes.get("chunks", {}).items()}
    for array, chunk, _, encoded in changes:
        column = chunks.setdefault(array.prefix.rsplit("/", 1)[-1], [])
        column[chunk : chunk + 1] = [[f"{encoded.crc:08x}"]]
    return chunks


def begun(attributes: Json, changed: Chunks) -> Json:
    """The document while chunks are being written: either of two may be found."""
    chunks = {}
    for name, column in changed.items():
        there = attributes["chunks"].get(name, [])
        chunks[name] = [
            sorted({*there[chunk], *crcs}) if chunk < len(there) else crcs
            for chunk, crcs in enumerate(column)
        ]
    return {**attributes, "chunks": chunks}
