"""The chunks of one branch: a shard's record, data and errors, read and checked together."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from features_store.chunks import Array, ChunkedArray, Piece
from features_store.errors import Damaged, NotComputed
from features_store.place import Place
from features_store.place.place import Version
from features_store.quantise import dequantise
from features_store.record import Record, Records
from features_store.schema import ArraySpec, BranchSpec, Layout, Status
from features_store.shard_content import ShardContent

ERROR = "error"
_LOOKS = 3
"""A reader that comes upon a chunk in the middle of a commit looks again so many times."""
_REMEMBERED = 1024

T = TypeVar("T")


class ShardFiles:
    """What is stored of one branch, by shard."""

    def __init__(
        self, place: Place, prefix: str, spec: BranchSpec, rows: int, layout: Layout
    ) -> None:
        self.place = place
        self.prefix = prefix
        self.spec = spec
        self.rows = rows
        self.layout = layout
        self.records = Records(place, prefix, rows, layout)
        self.error = self._array(ERROR, "string", (), fill="")
        self.data = {name: self._stored(name, spec.arrays[name]) for name in spec.arrays}
        self._seen: dict[int, Record] = {}

    def parts(self) -> dict[str, ChunkedArray]:
        """Every Zarr array of numbers, by name."""
        return {part: array for stored in self.data.values() for part, array in stored.items()}

    def needed(self, status: Array) -> dict[str, ChunkedArray]:
        """The arrays that a shard with these statuses must have chunks of."""
        needed = self.parts() if (status == Status.OK).any() else {}
        if (status == Status.FAILED).any():
            needed[ERROR] = self.error
        return needed

    def head(self, shard: int) -> tuple[Record, Version]:
        """A shard's record and its version, empty where it was never committed."""
        found = self.place.read(self.records.key(shard))
        if found.content is None:
            return self.records.empty(), found.version
        return self.records.decode(shard, found.content), found.version

    def record(self, shard: int) -> Record | None:
        """A shard's record, read afresh; None where it was never committed."""
        value = self.place.get(self.records.key(shard))
        return None if value is None else self.records.decode(shard, value)

    def statuses(self, shards: Sequence[int]) -> Array:
        """(n, rows) of so many shards, read afresh; MISSING where one was never committed."""
        found = np.zeros((len(shards), self.rows), np.uint8)
        values = self.place.get_many([self.records.key(shard) for shard in shards])
        for row, (shard, value) in enumerate(zip(shards, values, strict=True)):
            if value is not None:
                found[row] = self.records.status(shard, value)
        return found

    def read(self, shard: int, rows: int) -> ShardContent:
        """All that is stored of a shard's first rows, checked."""

        def read(record: Record) -> ShardContent:
            status = record.status[:rows]
            found = {
                name: array.read(shard, record.named(name))[:rows]
                for name, array in self.needed(status).items()
            }
            errors = found.pop(ERROR, None)
            return ShardContent(parts=found, status=status, errors=errors)

        return self._checked(shard, read, afresh=True)

    def reasons(self, shard: int) -> dict[int, str]:
        """Why rows of a shard failed, by position."""

        def read(record: Record) -> dict[int, str]:
            failed = np.flatnonzero(record.status == Status.FAILED).tolist()
            texts = self.error.read(shard, record.named(ERROR)) if failed else ()
            return {position: str(texts[position]) for position in failed}

        return self._checked(shard, read, afresh=True)

    def copy_rows(
        self, name: str, shard: int, pieces: Sequence[Piece], *, verify: bool = True
    ) -> None:
        """Copy rows of one array of a shard into place, whatever their status."""
        if self.spec.arrays[name].quantise == "none":
            array = self.data[name][name]
            self._checked(
                shard, lambda record: array.copy(shard, pieces, record.named(name), verify=verify)
            )
            return
        for piece in pieces:
            rows = np.arange(piece.first, piece.first + len(piece.out))
            piece.out[:] = self.rows_of(name, shard, rows, verify=verify)

    def rows_of(
        self, name: str, shard: int, rows: Array, views: Array | None = None, *, verify: bool = True
    ) -> Array:
        """Some rows of one array of a shard, and of these some views (their first axis)."""

        def read(record: Record) -> list[Array]:
            found = []
            for part, array in self.data[name].items():
                whole = array.rows_of(shard, record.named(part), verify=verify)
                found.append(whole[rows] if views is None else whole[rows[:, None], views])
            return found

        numbers, *scale = self._checked(shard, read)
        if not scale:
            return numbers
        out = np.empty(numbers.shape, self.spec.arrays[name].dtype)
        dequantise(numbers, scale[0], out)
        return out

    def _checked(self, shard: int, read: Callable[[Record], T], *, afresh: bool = False) -> T:
        """Read chunks that the shard's record names.

        Where they are not what it names, a writer may have replaced them since: then the newer
        record names them.
        """
        record = None if afresh else self._seen.get(shard)
        for look in range(_LOOKS):
            if look or record is None:
                record = self.record(shard)
            if record is None:
                raise NotComputed(
                    f"{self.prefix}, shard {shard}: it is not committed, or not any more. Run "
                    f"the same `telltale extract` again to compute it."
                )
            try:
                found = read(record)
            except Damaged:
                if look == _LOOKS - 1:
                    raise
            else:
                self._remember(shard, record)
                return found
        raise AssertionError  # the last look has raised

    def _remember(self, shard: int, record: Record) -> None:
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[shard] = record

    def _stored(self, name: str, spec: ArraySpec) -> dict[str, ChunkedArray]:
        """The Zarr arrays behind one named array: itself, and its scales when quantised."""
        if spec.quantise == "none":
            return {name: self._array(name, spec.dtype, spec.shape, spec.compression)}
        scale = f"{name}.scale"
        per_channel = (*spec.shape[:-2], spec.shape[-1])
        return {
            name: self._array(name, "int8", spec.shape, spec.compression),
            scale: self._array(scale, "float32", per_channel),
        }

    def _array(
        self,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        compression: str = "none",
        fill: str | int = 0,
    ) -> ChunkedArray:
        return ChunkedArray(
            self.place,
            f"{self.prefix}/{name}",
            dtype,
            self.rows,
            shape,
            compression,
            fill,
            self.layout.separator,
        )
