"""What one branch said about every video under one protocol: its arrays, shard by shard.

A shard is a run of R consecutive videos. Its data chunks are written first, its errors next, its
status chunk last: the status chunk is the commit record. Writers that own different shards need
no lock; two writers of the same shard waste work but do no harm, since both write whole chunks of
the same numbers.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from features_store import documents, shard_content
from features_store.chunks import Array, ChunkedArray, Piece
from features_store.documents import Json
from features_store.errors import BadInput, Damaged, NotComputed, SpecMismatch
from features_store.places import Place
from features_store.quantise import dequantise
from features_store.schema import BranchSpec, Status
from features_store.shard_content import ShardContent
from features_store.videos import Videos


class BranchArrays:
    """One branch group of a store. Get it from `Store.branch` or `Store.open_branch`."""

    def __init__(self, place: Place, videos: Videos, groups: Mapping[str, Json]) -> None:
        """`groups` are the attributes of the `protocol` group and of the `branch` group."""
        document = groups["branch"]
        self.place = place
        self.groups = dict(groups)
        self.protocol = str(groups["protocol"]["name"])
        self.spec = BranchSpec.from_json(document)
        self.shard_rows = int(document["shard_rows"])
        self.prefix = f"{self.protocol}/{self.spec.group}"
        self._videos = videos
        self._status = self._flat("status", "uint8")
        self._error = self._flat("error", "string")

    def __repr__(self) -> str:
        arrays = ", ".join(f"{name} {a.dtype}{a.shape}" for name, a in self.spec.arrays.items())
        return f"BranchArrays({self.prefix}: {arrays}; {self.shards} shards of {self.shard_rows})"

    @property
    def shards(self) -> int:
        return -(-self._videos.count // self.shard_rows)

    def rows(self, shard: int) -> range:
        """The videos of a shard. The last shard may be short, and may grow."""
        if not 0 <= shard < self.shards:
            raise BadInput(f"Shard {shard} of {self.prefix}: it has 0 to {self.shards - 1}.")
        start = shard * self.shard_rows
        return range(start, min(start + self.shard_rows, self._videos.count))

    def status(self, rows: Array | None = None) -> Array:
        """One `Status` per video, or per video of `rows`, read afresh; only their shards are."""
        wanted = np.arange(self._videos.count) if rows is None else rows
        if wanted.dtype == bool or (wanted.size and wanted.max() >= self._videos.count):
            raise IndexError(f"Rows of {self._videos.count} videos are 0 to one less, as numbers.")
        size = self.shard_rows
        shards, places = np.unique(wanted // size, return_inverse=True)
        found = np.zeros((len(shards), size), np.uint8)
        values = self.place.get_many([self._status.key(shard) for shard in shards.tolist()])
        for row, (shard, value) in enumerate(zip(shards.tolist(), values, strict=True)):
            if value is not None:
                found[row] = self._decode_status(shard, value)
        status: Array = found[places, wanted % size]
        return status

    def errors(self, rows: Array | None = None) -> dict[int, str]:
        """Why videos failed, by row: all of them, or those of `rows`."""
        wanted = np.arange(self._videos.count) if rows is None else rows
        failed = wanted[self.status(wanted) == Status.FAILED]
        found: dict[int, str] = {}
        for shard in np.unique(failed // self.shard_rows).tolist():
            texts = self._error.read(shard)
            for row in failed[failed // self.shard_rows == shard].tolist():
                found[row] = str(texts[row - shard * self.shard_rows])
        return found

    def missing_shards(self, *, retry_failed: bool = False) -> list[int]:
        """Shards with rows that still have to be computed."""
        status = self.status()
        todo = status == Status.MISSING
        if retry_failed:
            todo |= status == Status.FAILED
        missing: list[int] = np.unique(np.flatnonzero(todo) // self.shard_rows).tolist()
        return missing

    def write_shard(
        self,
        shard: int,
        arrays: Mapping[str, Array],
        status: Array | None = None,
        errors: Mapping[int, str] | None = None,
    ) -> None:
        """Write and commit a shard.

        `arrays` hold one row per video of the shard. `status` says which are OK (the default)
        or FAILED; rows with status MISSING are not written and stay as they are in the store.
        `errors` gives the reason for each failed row, by its position in the shard.
        """
        new = shard_content.checked(self, shard, arrays, status, errors or {})
        before = self._status_up_to(shard, len(new.status))
        new = shard_content.lengthened(new, len(before))
        keep = (new.status == Status.MISSING) & (before != Status.MISSING)
        content = shard_content.merged(new, self._read(shard, before), keep) if keep.any() else new
        if ((before == Status.OK) & ~keep).any():
            self.forget(shard)  # numbers change: not committed until the new status is there
        self.commit(shard, content)

    def commit(self, shard: int, content: ShardContent) -> None:
        """Write a shard's chunks: data, then errors, then the status."""
        for name in self.spec.arrays:
            for part, array in self.stored(name).items():
                if part in content.parts:
                    array.write(shard, content.parts[part])
        if content.errors is not None:
            self._error.write(shard, content.errors)
        self._status.write(shard, content.status)

    def read_shard(self, shard: int) -> ShardContent:
        """All that is stored of a shard, checked."""
        return self._read(shard, self.read_status(shard))

    def _read(self, shard: int, status: Array) -> ShardContent:
        parts: dict[str, Array] = {}
        if (status == Status.OK).any():
            for name in self.spec.arrays:
                for part, array in self.stored(name).items():
                    parts[part] = array.read(shard)[: len(status)]
        failed = (status == Status.FAILED).any()
        errors = self._error.read(shard)[: len(status)] if failed else None
        return ShardContent(parts=parts, status=status, errors=errors)

    def read_status(self, shard: int) -> Array:
        """The statuses of a shard's videos; all missing where it was never committed."""
        committed = self.committed(shard)
        rows = len(self.rows(shard))
        return np.zeros(rows, np.uint8) if committed is None else committed[:rows]

    def stored(self, name: str) -> dict[str, ChunkedArray]:
        """The Zarr arrays behind one named array: itself, and its scales when quantised."""
        spec = self.spec.arrays[name]
        path = f"{self.prefix}/{name}"
        if spec.quantise == "none":
            shape, kind = spec.shape, spec.compression
            return {name: ChunkedArray(self.place, path, spec.dtype, self.shard_rows, shape, kind)}
        scale = (*spec.shape[:-2], spec.shape[-1])
        return {
            name: ChunkedArray(
                self.place, path, "int8", self.shard_rows, spec.shape, spec.compression
            ),
            f"{name}.scale": ChunkedArray(
                self.place, f"{path}.scale", "float32", self.shard_rows, scale
            ),
        }

    def copy_rows(
        self, name: str, shard: int, pieces: Sequence[Piece], *, verify: bool = True
    ) -> None:
        """Copy rows of one array of a shard into place, whatever their status."""
        stored = self.stored(name)
        if self.spec.arrays[name].quantise == "none":
            stored[name].copy(shard, pieces, verify=verify)
            return
        numbers = stored[name].read(shard)
        scale = stored[f"{name}.scale"].read(shard)
        for piece in pieces:
            rows = slice(piece.first, piece.first + len(piece.out))
            dequantise(numbers[rows], scale[rows], piece.out)

    def require_computed(self, status: Array) -> None:
        """Refuse to go on with videos that nobody computed: they would silently be left out."""
        missing = int((status == Status.MISSING).sum())
        if missing:
            raise NotComputed(
                f"{self.prefix} lacks {missing} of {len(status)} videos. Run the same "
                f"`telltale extract` again to compute them, or pass allow_missing=True."
            )

    def ensure(self) -> None:
        """Write the arrays' documents where they are missing or shorter than the videos table."""
        for prefix, wanted in self.array_documents(self._videos.count).items():
            there = documents.read(self.place, prefix)
            if there is not None and there["shape"][0] >= wanted["shape"][0]:
                continue
            documents.write(self.place, prefix, wanted)

    def array_documents(self, length: int) -> dict[str, Json]:
        arrays = [stored for name in self.spec.arrays for stored in self.stored(name).values()]
        found = {array.prefix: array.document(length) for array in [*arrays, self._error]}
        # A second copy of what the groups above say, from which `repair` can restore them.
        found[self._status.prefix] = self._status.document(length, {"groups": self.groups})
        return found

    def document_damage(self) -> Iterator[Damaged]:
        """Arrays whose document is missing, damaged, or not what the group says."""
        for prefix, wanted in self.array_documents(0).items():
            place = f"{self.place.name}/{documents.document_key(prefix)}"
            try:
                there = documents.read(self.place, prefix)
            except Damaged as damage:
                yield damage
                continue
            if there is None:
                yield Damaged(place, "the file is missing")
            elif _any_length(there) != _any_length(wanted):
                yield Damaged(place, "the metadata does not fit its branch")

    def committed(self, shard: int) -> Array | None:
        """A shard's statuses, checked; None where it was never committed."""
        value = self.place.get(self._status.key(shard))
        return None if value is None else self._decode_status(shard, value)

    def chunks_of(self, status: Array) -> list[ChunkedArray]:
        """The chunks that a shard with these statuses must have, its status aside."""
        chunks: list[ChunkedArray] = []
        if (status == Status.OK).any():
            for name in self.spec.arrays:
                chunks.extend(self.stored(name).values())
        if (status == Status.FAILED).any():
            chunks.append(self._error)
        return chunks

    def forget(self, shard: int) -> None:
        """Mark a shard missing."""
        self.place.delete(self._status.key(shard))

    def _status_up_to(self, shard: int, rows: int) -> Array:
        """Statuses of so many rows, or more where another process has added and written videos."""
        committed = self.committed(shard)
        if committed is None:
            return np.zeros(rows, np.uint8)
        written = np.flatnonzero(committed)
        return committed[: max(rows, int(written[-1]) + 1 if len(written) else 0)]

    def _flat(self, name: str, dtype: str) -> ChunkedArray:
        fill: str | int = "" if dtype == "string" else 0
        path = f"{self.prefix}/{name}"
        return ChunkedArray(self.place, path, dtype, self.shard_rows, fill=fill)

    def _decode_status(self, shard: int, value: bytes) -> Array:
        status = self._status.decode(shard, value)
        if (status > Status.FAILED).any():
            raise Damaged(self._status.where(shard), "holds a status that does not exist")
        return status


def check_same(there: BranchArrays, wanted: BranchSpec, shard_rows: int | None) -> None:
    """Refuse to reopen a branch that was made differently."""
    have, want = there.spec.to_json(), wanted.to_json()
    differs: Sequence[str] = [
        key for key in ("name", "preset", "fingerprint", "arrays") if have[key] != want[key]
    ]
    if differs:
        raise SpecMismatch(
            f"{there.prefix} exists with another {' and '.join(differs)}: "
            f"{', '.join(str(have[key]) for key in differs)} there, "
            f"{', '.join(str(want[key]) for key in differs)} asked for. Use another store, or "
            f"remove the branch with `telltale store gc --branch {there.prefix}`."
        )
    if shard_rows not in (None, there.shard_rows):
        raise SpecMismatch(
            f"{there.prefix} has {there.shard_rows} rows a shard, {shard_rows} were asked for; "
            f"leave it out to use what is there."
        )


def _any_length(document: Json) -> Json:
    return {**document, "shape": document["shape"][1:]}
