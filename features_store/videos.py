"""The table of videos: append-only columns, one row per video, in one global order.

An append writes chunks, then the columns' documents, then the table's; killed in between, the next
append writes over what was left. What is found out about a video's file later, by decoding it, is
written into the columns that wait for it (`note`). Anyone may read meanwhile; how writers are kept
apart is told in `video_files`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from features_store import documents, video_columns
from features_store.chunks import Array
from features_store.documents import Json
from features_store.errors import BadInput, Damaged, WriteFailed
from features_store.look_up import rows_of
from features_store.place import Place
from features_store.place.place import exclusively
from features_store.schema import COLUMNS, Layout
from features_store.video_files import CHUNK_ROWS, LOCK, PREFIX, Change, Grown, Head, VideoFiles

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FOUND_OUT = ("frames", "fps", "width", "height", "digest")
"""Columns that `note` may change."""


class Videos:
    """The videos table of one store."""

    def __init__(self, place: Place, classes: Sequence[str], layout: Layout) -> None:
        self.place = place
        self.classes = tuple(classes)
        self.layout = layout
        self.count = 0
        self._files = VideoFiles(place, layout)
        self._columns: dict[str, Array] = {}
        self.refresh()

    def __repr__(self) -> str:
        return f"Videos({self.place.name}: {self.count} rows of {', '.join(self.layout.columns)})"

    def refresh(self) -> None:
        """Take note of videos that other processes have added."""
        self._take_note(self._files.attributes())

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
        files = VideoFiles(place, layout)
        for name in layout.columns:
            array = files.array(name)
            document = documents.encode(array.document(0))
            place.put_new(documents.document_key(array.prefix), [document])
        attributes: Json = {"kind": "videos", "count": 0, "store": store}
        if layout.records:
            attributes["chunks"] = {name: [] for name in layout.columns}
        document = documents.encode(documents.group(attributes))
        place.put_new(documents.document_key(PREFIX), [document])
        found: Json = files.attributes()["store"]
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
            array = self._files.array(name)
            if documents.read(self.place, array.prefix) is None:
                where = f"{self.place.name}/{documents.document_key(array.prefix)}"
                raise Damaged(where, "the file is missing")
            parts = [self.read_chunk(name, chunk) for chunk in range(-(-count // CHUNK_ROWS))]
            column = np.concatenate([np.empty(0, array.numpy_dtype), *parts])[:count]
        column.flags.writeable = False  # it is kept, and handed to everyone who asks
        return column

    def read_chunk(self, name: str, chunk: int, *, mapped: bool = True) -> Array:
        """A chunk of a column, checked; see `chunks` for `mapped`."""
        return self._files.read(self._attributes, name, chunk, mapped=mapped)

    def rows_by_id(self) -> dict[str, int]:
        return {str(video): row for row, video in enumerate(self.column("id"))}

    def rows_of(self, ids: Sequence[str] | Array) -> Array:
        """The row of each of these videos, -1 for those that are not there."""
        return rows_of(self.column("id"), ids)

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
        head = self._begin()
        changes = []
        for name, values in columns.items():
            for chunk in np.unique(rows // CHUNK_ROWS).tolist():
                here = rows // CHUNK_ROWS == chunk
                before, seen = self._files.read_before(head, name, chunk)
                whole = np.array(before)
                whole[rows[here] - chunk * CHUNK_ROWS] = values[here]
                encoded = self._files.array(name).encode(whole)
                changes.append(Change(column=name, chunk=chunk, encoded=encoded, seen=seen))
        self._done(self._files.replace(head, changes))

    def _add(self, new: Mapping[str, Array], *, keep_existing: bool) -> Array:
        head = self._begin()
        old = self.rows_of(new["id"])
        if (old >= 0).any():
            self._check_existing(new, old, keep_existing=keep_existing)
        fresh = old < 0
        rows = old.copy()
        rows[fresh] = np.arange(self.count, self.count + fresh.sum())
        if fresh.any():
            some = new if fresh.all() else {name: values[fresh] for name, values in new.items()}
            self._append(some, head)
        return rows

    def _begin(self) -> Head:
        head = self._files.begin()
        self._take_note(head.attributes)
        return head

    def _done(self, attributes: Json) -> None:
        self._columns.clear()
        self._take_note(attributes)

    def _append(self, new: Mapping[str, Array], head: Head) -> None:
        total = head.count + len(new["id"])
        keys = {name: documents.document_key(f"{PREFIX}/{name}") for name in self.layout.columns}
        seen = {name: self.place.version(key) for name, key in keys.items()}
        changes = [
            change
            for name in self.layout.columns
            for change in self._appended(name, new[name], head, total)
        ]
        self._done(self._files.replace(head, changes, Grown(count=total, documents=seen)))

    def _appended(self, name: str, values: Array, head: Head, total: int) -> list[Change]:
        """The chunks that an append writes: the last one there is, longer, and new ones."""
        array = self._files.array(name)
        first, kept = divmod(head.count, CHUNK_ROWS)
        before, seen = np.empty(0, array.numpy_dtype), self.place.version(array.key(first))
        if kept:
            before, seen = self._files.read_before(head, name, first)
        rows = np.concatenate([before[:kept], values.astype(array.numpy_dtype, copy=False)])
        found = []
        for chunk in range(first, -(-total // CHUNK_ROWS)):
            start = (chunk - first) * CHUNK_ROWS
            encoded = array.encode(rows[start : start + CHUNK_ROWS])
            if chunk > first:
                seen = self.place.version(array.key(chunk))
            found.append(Change(column=name, chunk=chunk, encoded=encoded, seen=seen))
        return found

    def _check_existing(self, new: Mapping[str, Array], old: Array, *, keep_existing: bool) -> None:
        known = old >= 0
        there = {name: self.column(name)[old[known]] for name in video_columns.FIXED}
        given = {name: new[name][known] for name in ("id", *video_columns.FIXED)}
        video_columns.check_existing(there, given, keep_existing=keep_existing)
