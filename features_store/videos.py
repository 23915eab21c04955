"""The table of videos: append-only columns, one row per video, in one global order.

The number of videos in the group's document is the commit record: an append writes chunks, then
the columns' documents, then that number. Killed in between, the next append writes over what was
left. One process appends at a time (see `Place.alone`); anyone may read meanwhile. What is found
out about a video's file later, by decoding it, is written into the columns that wait for it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features_store import documents
from features_store.chunks import Array, ChunkedArray
from features_store.documents import Json
from features_store.errors import BadInput, Damaged
from features_store.places import Place
from features_store.schema import COLUMNS, check_id

PREFIX = "videos"
CHUNK_ROWS = 16_384
FOUND_OUT = ("frames", "fps", "width", "height", "digest")
_SHOWN = 3


class Videos:
    """The videos table of one store."""

    def __init__(self, place: Place, classes: Sequence[str]) -> None:
        self.place = place
        self.classes = tuple(classes)
        self.count = 0
        self._columns: dict[str, Array] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take note of videos that other processes have added."""
        document = documents.read(self.place, PREFIX)
        if document is None:
            raise Damaged(f"{self.place.name}/{PREFIX}/zarr.json", "the file is missing")
        self._attributes = documents.attributes(document)
        count = int(self._attributes["count"])
        if count != self.count:
            self._columns.clear()
        self.count = count

    @staticmethod
    def create(place: Place, store: Json) -> None:
        """`store` is what the root says: a second copy, from which `repair` can restore it."""
        for name in COLUMNS:
            array = column_array(place, name)
            place.put_new(documents.document_key(array.prefix), [_encode(array, 0)])
        place.put_new(
            documents.document_key(PREFIX),
            [documents.encode(documents.group({"kind": "videos", "count": 0, "store": store}))],
        )

    def column(self, name: str) -> Array:
        """A whole column. Strings come as NumPy's variable-width strings."""
        if name not in COLUMNS:
            raise BadInput(f"Column {name!r} unknown; have: {', '.join(COLUMNS)}.")
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> Array:
        array = column_array(self.place, name)
        _read_document(self.place, array.prefix)
        parts = [array.read(chunk) for chunk in range(-(-self.count // CHUNK_ROWS))]
        column = np.concatenate([np.empty(0, array.numpy_dtype), *parts])[: self.count]
        column.flags.writeable = False  # it is kept, and handed to everyone who asks
        return column

    def rows_by_id(self) -> dict[str, int]:
        return {str(video): row for row, video in enumerate(self.column("id"))}

    def add(self, columns: Mapping[str, Sequence[Any] | Array], *, keep_existing: bool) -> Array:
        """Append videos; the row of each given id comes back. See `Store.add_videos`."""
        new = self._checked(columns)
        with self.place.alone(PREFIX):
            self.refresh()
            known = self.rows_by_id()
            old = np.array([known.get(video, -1) for video in new["id"]], np.int64)
            if (old >= 0).any():
                self._check_existing(new, old, keep_existing=keep_existing)
            fresh = old < 0
            rows = old.copy()
            rows[fresh] = np.arange(self.count, self.count + fresh.sum())
            if fresh.any():
                self._append({name: values[fresh] for name, values in new.items()})
        return rows

    def note(self, rows: Array, columns: Mapping[str, Array]) -> None:
        """Write what was found out about videos that are there: `FOUND_OUT`, a value per row."""
        unknown = sorted(set(columns) - set(FOUND_OUT))
        if unknown:
            raise BadInput(f"Columns {unknown} never change; {', '.join(FOUND_OUT)} may be noted.")
        typed = {
            name: _typed(name, COLUMNS[name].dtype, values) for name, values in columns.items()
        }
        with self.place.alone(PREFIX):
            self.refresh()
            for chunk in np.unique(rows // CHUNK_ROWS).tolist():
                here = rows // CHUNK_ROWS == chunk
                for name, values in typed.items():
                    array = column_array(self.place, name)
                    whole = np.array(array.read(chunk))
                    whole[rows[here] - chunk * CHUNK_ROWS] = values[here]
                    array.write(chunk, whole)
        self._columns.clear()

    def _append(self, new: Mapping[str, Array]) -> None:
        total = self.count + len(new["id"])
        for name, values in new.items():
            array = column_array(self.place, name)
            first = self.count // CHUNK_ROWS
            kept = self.count - first * CHUNK_ROWS
            head = array.read(first)[:kept] if kept else np.empty(0, array.numpy_dtype)
            tail = np.concatenate([head, values.astype(array.numpy_dtype)])
            for chunk in range(first, -(-total // CHUNK_ROWS)):
                start = (chunk - first) * CHUNK_ROWS
                array.write(chunk, tail[start : start + CHUNK_ROWS])
        for name in new:
            array = column_array(self.place, name)
            self.place.put(documents.document_key(array.prefix), [_encode(array, total)])
        attributes = {**self._attributes, "count": total}
        documents.write(self.place, PREFIX, documents.group(attributes))
        self._attributes = attributes
        self._columns.clear()
        self.count = total

    def _checked(self, columns: Mapping[str, Sequence[Any] | Array]) -> dict[str, Array]:
        unknown = sorted(set(columns) - set(COLUMNS))
        if unknown or "id" not in columns:
            raise BadInput(
                f"Columns {sorted(columns)}: 'id' is needed, {', '.join(COLUMNS)} are known."
            )
        ids = [check_id(video) for video in columns["id"]]
        if len(set(ids)) != len(ids):
            twice = [video for video, times in Counter(ids).items() if times > 1]
            raise BadInput(f"Video id given twice: {_shown(twice)}. Ids are unique in a store.")
        checked: dict[str, Array] = {}
        for name, column in COLUMNS.items():
            values = columns.get(name, [column.fill] * len(ids))
            if len(values) != len(ids):
                raise BadInput(f"Column {name!r} has {len(values)} values for {len(ids)} videos.")
            checked[name] = _typed(name, column.dtype, values)
        self._check_values(checked)
        return checked

    def _check_values(self, columns: Mapping[str, Array]) -> None:
        labels, ranks = columns["label"], columns["rank"]
        wrong = (labels < -1) | (labels >= len(self.classes))
        if wrong.any():
            raise BadInput(
                f"Label {labels[wrong][0]} of {columns['id'][wrong][0]!r}: this store's classes "
                f"are {', '.join(f'{i} {name}' for i, name in enumerate(self.classes))}, or -1."
            )
        wrong = (ranks < 0) | (ranks > 1)
        if wrong.any():
            raise BadInput(
                f"Rank {ranks[wrong][0]} of {columns['id'][wrong][0]!r} is not in [0, 1]; leave "
                f"it out (NaN) where there is none."
            )

    def _check_existing(self, new: Mapping[str, Array], old: Array, *, keep_existing: bool) -> None:
        known = old >= 0
        if not keep_existing:
            raise BadInput(
                f"Already in the store: {_shown(list(new['id'][known]))}. Ids are unique; pass "
                f"keep_existing=True to leave those rows as they are."
            )
        for name in ("label", "rank", "source", "split"):
            there, given = self.column(name)[old[known]], new[name][known]
            differs = there != given
            if name == "rank":
                differs &= ~(np.isnan(there) & np.isnan(given))
            if differs.any():
                raise BadInput(
                    f"{name} of {_shown(list(new['id'][known][differs]))} differs from the "
                    f"store's ({there[differs][0]} there, {given[differs][0]} now). Rows are "
                    f"never changed: make a new store, or give the values it was made with."
                )


def column_array(place: Place, name: str) -> ChunkedArray:
    column = COLUMNS[name]
    return ChunkedArray(place, f"{PREFIX}/{name}", column.dtype, CHUNK_ROWS, fill=column.fill)


def _encode(array: ChunkedArray, length: int) -> bytes:
    return documents.encode(array.document(length))


def _read_document(place: Place, prefix: str) -> None:
    if documents.read(place, prefix) is None:
        raise Damaged(f"{place.name}/{prefix}/zarr.json", "the file is missing")


def _typed(name: str, dtype: str, values: Sequence[Any] | Array) -> Array:
    if dtype == "string":
        try:
            texts = [str(value) for value in values]
            "".join(texts).encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"Column {name!r} holds text that is not valid Unicode.") from error
        return np.array(texts, np.dtypes.StringDType())
    try:
        array = np.asarray(values)
        typed = array.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"Column {name!r} holds something that is no {dtype}: {error}.") from error
    if dtype.startswith("int") and not np.array_equal(typed, array):
        raise BadInput(f"Column {name!r} holds values that do not fit {dtype}.")
    return typed


def _shown(ids: Sequence[object]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(repr(str(video)) for video in ids[:_SHOWN]) + more
