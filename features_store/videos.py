"""The table of videos: append-only columns, one row per video, in one global order.

The group's document is the commit record: it holds the number of videos and, in format 2, the
checksum of every chunk. An append writes chunks, then the columns' documents, then that document.
Killed in between, the next append writes over what was left. Writers are kept apart as those of
shards are (`shard_writer`): first the document names the chunks to come beside those that are
there, last it names the new ones alone. Anyone may read meanwhile. What is found out about a
video's file later, by decoding it, is written into the columns that wait for it (`note`).
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from features_store import documents, video_columns
from features_store.chunks import Array, ChunkedArray, Encoded
from features_store.documents import Json
from features_store.errors import BadInput, Damaged, Overtaken, WriteFailed
from features_store.place import Place
from features_store.place.place import Version, exclusively
from features_store.record import this_writer
from features_store.schema import COLUMNS, Layout

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PREFIX = "videos"
CHUNK_ROWS = 16_384
FOUND_OUT = ("frames", "fps", "width", "height", "digest")
"""Columns that `note` may change."""
LOCK = f"{PREFIX}/id/.lock"
_LOOKS = 3
_LOOK_AGAIN = 0.1


class Videos:
    """The videos table of one store."""

    def __init__(self, place: Place, classes: Sequence[str], layout: Layout) -> None:
        self.place = place
        self.classes = tuple(classes)
        self.layout = layout
        self.count = 0
        self._columns: dict[str, Array] = {}
        self.refresh()

    def __repr__(self) -> str:
        return f"Videos({self.place.name}: {self.count} rows of {', '.join(self.layout.columns)})"

    def refresh(self) -> None:
        """Take note of videos that other processes have added."""
        document = documents.read(self.place, PREFIX)
        if document is None:
            raise Damaged(f"{self.place.name}/{PREFIX}/zarr.json", "the file is missing")
        self._take_note(documents.attributes(document))

    def _take_note(self, attributes: Json) -> None:
        self._attributes = attributes
        count = int(attributes["count"])
        if count != self.count:
            self._columns.clear()
        self.count = count

    @staticmethod
    def create(place: Place, store: Json, layout: Layout) -> Json:
        """`store` is what the root says: a second copy, from which `repair` can restore it.

        Of several processes the first decides what it is; that comes back.
        """
        for name in layout.columns:
            array = column_array(place, name, layout)
            place.put_new(documents.document_key(array.prefix), [_encode(array, 0)])
        attributes = {"kind": "videos", "count": 0, "store": store}
        if layout.records:
            attributes["chunks"] = {name: [] for name in layout.columns}
        document = documents.encode(documents.group(attributes))
        place.put_new(documents.document_key(PREFIX), [document])
        there = documents.read(place, PREFIX)
        if there is None:
            raise WriteFailed(
                f"{place.name}/{PREFIX}/zarr.json: gone again. Run the command again."
            )
        found: Json = documents.attributes(there)["store"]
        return found

    def column(self, name: str) -> Array:
        """A whole column. Strings come as NumPy's variable-width strings."""
        video_columns.check_known(name)
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def to_arrow(self) -> "pa.Table":
        """All columns as an Arrow table, labels by their class names; `.to_pandas()` of it too."""
        from features_store.arrow import videos_table

        return videos_table({name: self.column(name) for name in COLUMNS}, self.classes)

    def to_pandas(self) -> "pd.DataFrame":
        """The same as a pandas data frame (pandas must be there)."""
        from features_store.arrow import frame

        return frame(self.to_arrow())

    def _read_column(self, name: str) -> Array:
        count = self.count
        if name not in self.layout.columns:  # a store made before there was this column
            column = np.full(count, *video_columns.filling(name))
        else:
            array = column_array(self.place, name, self.layout)
            if documents.read(self.place, array.prefix) is None:
                where = f"{self.place.name}/{documents.document_key(array.prefix)}"
                raise Damaged(where, "the file is missing")
            parts = [self.read_chunk(name, chunk) for chunk in range(-(-count // CHUNK_ROWS))]
            column = np.concatenate([np.empty(0, array.numpy_dtype), *parts])[:count]
        column.flags.writeable = False  # it is kept, and handed to everyone who asks
        return column

    def read_chunk(self, name: str, chunk: int, *, mapped: bool = True) -> Array:
        """A chunk of a column, which the document has to name: an older one of it, or a newer."""
        array = column_array(self.place, name, self.layout)
        attributes = self._attributes
        for look in range(_LOOKS):
            try:
                return array.read(chunk, _named(attributes, name, chunk), mapped=mapped)
            except Damaged:
                if look == _LOOKS - 1:
                    raise
                document = documents.read(self.place, PREFIX)
                if document is None:
                    raise
                attributes = documents.attributes(document)
        raise AssertionError  # the last look has raised

    def rows_by_id(self) -> dict[str, int]:
        return {str(video): row for row, video in enumerate(self.column("id"))}

    def add(self, columns: Mapping[str, Sequence[Any] | Array], *, keep_existing: bool) -> Array:
        """Append videos; the row of each given id comes back. See `Store.add_videos`."""
        new = video_columns.checked(columns, self.classes)
        if not self.layout.columns.keys() >= columns.keys():
            raise BadInput(
                f"{self.place.name} is of format {self.layout.format}, which has no column "
                f"{', '.join(sorted(set(columns) - set(self.layout.columns)))}. Export it and "
                f"import the file into a new store."
            )
        self._check_writable()
        return exclusively(self.place, LOCK, lambda: self._add(new, keep_existing=keep_existing))

    def note(self, rows: Array, columns: Mapping[str, Array]) -> None:
        """Write what was found out about videos that are there: `FOUND_OUT`, a value per row."""
        unknown = sorted(set(columns) - set(FOUND_OUT))
        if unknown:
            raise BadInput(f"Columns {unknown} never change; {', '.join(FOUND_OUT)} may be noted.")
        typed = {name: video_columns.typed(name, values) for name, values in columns.items()}
        self._check_writable()
        exclusively(self.place, LOCK, lambda: self._note(rows, typed))

    def _check_writable(self) -> None:
        if not (self.layout.records or self.place.locks):
            raise WriteFailed(
                f"{self.place.name} is a store of format 1, which only a folder can keep two "
                f"writers of apart. Copy it to a folder, or export it and import the file."
            )

    def _note(self, rows: Array, columns: Mapping[str, Array]) -> None:
        version = self._wait_for_others()
        changes = []
        for name, values in columns.items():
            array = column_array(self.place, name, self.layout)
            for chunk in np.unique(rows // CHUNK_ROWS).tolist():
                here = rows // CHUNK_ROWS == chunk
                before = self.place.version(array.key(chunk))
                whole = np.array(self.read_chunk(name, chunk))
                whole[rows[here] - chunk * CHUNK_ROWS] = values[here]
                changes.append((array, chunk, before, array.encode(whole)))
        self._commit(changes, _after(self._attributes, changes), version, {})

    def _add(self, new: Mapping[str, Array], *, keep_existing: bool) -> Array:
        version = self._wait_for_others()
        known = self.rows_by_id()
        old = np.array([known.get(video, -1) for video in new["id"].tolist()], np.int64)
        if (old >= 0).any():
            self._check_existing(new, old, keep_existing=keep_existing)
        fresh = old < 0
        rows = old.copy()
        rows[fresh] = np.arange(self.count, self.count + fresh.sum())
        if fresh.any():
            self._append({name: values[fresh] for name, values in new.items()}, version)
        return rows

    def _wait_for_others(self) -> Version:
        """Take note of what is there; where another writer has begun, it may finish first."""
        since = time.monotonic()
        last: Version = None
        while True:
            document, version = documents.read_with_version(self.place, PREFIX)
            if document is None:
                raise Damaged(f"{self.place.name}/{PREFIX}/zarr.json", "the file is missing")
            attributes = documents.attributes(document)
            if version != last:
                last, since = version, time.monotonic()
            begun = attributes.get("writer", this_writer()) != this_writer()
            waited = time.monotonic() - since >= self.place.patience
            if self.place.locks or not begun or waited:
                self._take_note(attributes)
                return version
            time.sleep(_LOOK_AGAIN)

    def _append(self, new: Mapping[str, Array], version: Version) -> None:
        total = self.count + len(new["id"])
        arrays = {name: column_array(self.place, name, self.layout) for name in self.layout.columns}
        seen = {name: self._document_version(array) for name, array in arrays.items()}
        try:
            changes = [
                (arrays[name], chunk, self.place.version(arrays[name].key(chunk)), encoded)
                for name in arrays
                for chunk, encoded in self._chunks(arrays[name], name, new[name], total)
            ]
        except Damaged as damage:
            if self.place.locks or self._document_version(None) == version:
                raise
            raise Overtaken(f"{damage.place}: it was being replaced.") from damage
        first = self.count // CHUNK_ROWS  # a killed append may have named chunks behind it
        there = self._attributes.get("chunks", {})
        kept = {**self._attributes, "chunks": {name: each[:first] for name, each in there.items()}}
        grown = {array: (array.document(total), seen[name]) for name, array in arrays.items()}
        self._commit(changes, _after(kept, changes), version, grown, total)

    def _commit(
        self,
        changes: "_Changes",
        chunks: "_Chunks",
        version: Version,
        grown: Mapping[ChunkedArray, tuple[Json, Version]],
        total: int | None = None,
    ) -> None:
        """Replace chunks: the document names both before, and the new ones alone at the end."""
        if self.layout.records:
            begun = {**_begun(self._attributes, chunks), "writer": this_writer()}
            version = documents.swap(self.place, PREFIX, documents.group(begun), version)
        for array, chunk, before, encoded in changes:
            self.place.swap(array.key(chunk), encoded.buffers, before)
        for array, (document, before) in grown.items():
            documents.swap(self.place, array.prefix, document, before)
        total = self.count if total is None else total
        attributes = {**self._attributes, "count": total}
        attributes.pop("writer", None)
        if self.layout.records:
            attributes["chunks"] = chunks
        documents.swap(self.place, PREFIX, documents.group(attributes), version)
        self._attributes = attributes
        self._columns.clear()
        self.count = total

    def _chunks(
        self, array: ChunkedArray, name: str, values: Array, total: int
    ) -> list[tuple[int, Encoded]]:
        """The chunks that an append writes: the last one there is, longer, and new ones."""
        first = self.count // CHUNK_ROWS
        kept = self.count - first * CHUNK_ROWS
        head = self.read_chunk(name, first)[:kept] if kept else np.empty(0, array.numpy_dtype)
        tail = np.concatenate([head, values.astype(array.numpy_dtype)])
        found = []
        for chunk in range(first, -(-total // CHUNK_ROWS)):
            start = (chunk - first) * CHUNK_ROWS
            found.append((chunk, array.encode(tail[start : start + CHUNK_ROWS])))
        return found

    def _document_version(self, array: ChunkedArray | None) -> Version:
        prefix = array.prefix if array else PREFIX
        return self.place.version(documents.document_key(prefix))

    def _check_existing(self, new: Mapping[str, Array], old: Array, *, keep_existing: bool) -> None:
        known = old >= 0
        there = {name: self.column(name)[old[known]] for name in video_columns.FIXED}
        given = {name: new[name][known] for name in ("id", *video_columns.FIXED)}
        video_columns.check_existing(there, given, keep_existing=keep_existing)


def column_array(place: Place, name: str, layout: Layout) -> ChunkedArray:
    column = layout.columns[name]
    return ChunkedArray(
        place,
        f"{PREFIX}/{name}",
        column.dtype,
        CHUNK_ROWS,
        fill=column.fill,
        separator=layout.separator,
    )


def _named(attributes: Json, name: str, chunk: int) -> frozenset[int] | None:
    """Checksums that the document allows a chunk; None in format 1."""
    if "chunks" not in attributes:
        return None
    column = attributes["chunks"][name]
    return frozenset(int(crc, 16) for crc in column[chunk]) if chunk < len(column) else frozenset()


_Changes = Sequence[tuple[ChunkedArray, int, Version, Encoded]]
_Chunks = dict[str, list[list[str]]]


def _after(attributes: Json, changes: _Changes) -> _Chunks:
    """The document's `chunks` once the changes are made: per column, per chunk, its checksums."""
    chunks = {name: list(column) for name, column in attributes.get("chunks", {}).items()}
    for array, chunk, _, encoded in changes:
        column = chunks.setdefault(array.prefix.rsplit("/", 1)[-1], [])
        column[chunk : chunk + 1] = [[f"{encoded.crc:08x}"]]
    return chunks


def _begun(attributes: Json, after: _Chunks) -> Json:
    """The document while chunks are being written: either of two may be found."""
    chunks = {}
    for name, column in after.items():
        there = attributes["chunks"].get(name, [])
        chunks[name] = [
            sorted({*there[chunk], *crcs}) if chunk < len(there) else crcs
            for chunk, crcs in enumerate(column)
        ]
    return {**attributes, "chunks": chunks}


def _encode(array: ChunkedArray, length: int) -> bytes:
    return documents.encode(array.document(length))
