"""What one branch said about every video under one protocol: its arrays, shard by shard.

A shard is a run of R consecutive videos. Its data chunks are written first, its errors next, its
status chunk last: the status chunk is the commit record. Writers that own different shards need
no lock; two writers of the same shard waste work but do no harm, since both write whole chunks of
the same numbers.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from features_store import documents
from features_store.chunks import Array, ChunkedArray
from features_store.documents import Json
from features_store.errors import BadInput, Damaged, NotComputed, SpecMismatch
from features_store.places import Place
from features_store.quantise import dequantise, quantise
from features_store.schema import ArraySpec, BranchSpec, Status
from features_store.videos import Videos

_ERROR_CHARACTERS = 1000


class BranchArrays:
    """One branch group of a store. Get it from `Store.branch` or `Store.open_branch`."""

    def __init__(self, place: Place, protocol: str, videos: Videos, document: Json) -> None:
        self.place = place
        self.protocol = protocol
        self.spec = BranchSpec.from_json(document)
        self.shard_rows = int(document["shard_rows"])
        self.prefix = f"{protocol}/{self.spec.group}"
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

    def status(self) -> Array:
        """One `Status` per video, read afresh."""
        out = np.zeros(self.shards * self.shard_rows, np.uint8)
        size = self.shard_rows
        for shard, part in enumerate(self._statuses(range(self.shards))):
            out[shard * size : shard * size + len(part)] = part
        return out[: self._videos.count]

    def errors(self) -> dict[int, str]:
        """Why rows failed, by row."""
        failed = np.flatnonzero(self.status() == Status.FAILED)
        found: dict[int, str] = {}
        for shard in np.unique(failed // self.shard_rows).tolist():
            texts = self._error.read(shard, self.shard_rows)
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
        rows = len(self.rows(shard))
        status = self._checked_status(shard, rows, status, errors or {})
        self._check_arrays(shard, rows, arrays)
        before = self._padded_status(shard)[:rows]
        keep = (status == Status.MISSING) & (before != Status.MISSING)
        if ((before == Status.OK) & ~keep).any():
            self.place.delete(self._status.key(shard))  # numbers change: not committed meanwhile
        merged = np.where(keep, before, status)
        if (merged == Status.OK).any():
            written = merged == Status.OK
            for name, spec in self.spec.arrays.items():
                self._write_array(shard, name, spec, arrays[name], keep=keep, written=written)
        if (merged == Status.FAILED).any():
            self._write_errors(shard, rows, keep, errors or {})
        self._status.write(shard, merged)

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

    def read_rows(self, name: str, rows: Array, out: Array, *, verify: bool = True) -> None:
        """Fill `out` with the given rows (ascending) of one array. Their status is not looked at."""
        stored = self.stored(name)
        main = stored[name]
        scales = stored.get(f"{name}.scale")
        shards = rows // self.shard_rows
        bounds = np.flatnonzero(np.diff(shards)) + 1
        for part in np.split(np.arange(len(rows)), bounds):
            if not len(part):
                continue
            shard = int(shards[part[0]])
            local = rows[part] - shard * self.shard_rows
            target = out[part[0] : part[-1] + 1]
            if scales is None:
                _read_local(main, shard, local, target, verify=verify)
                continue
            numbers = np.empty((len(local), *main.row_shape), np.int8)
            scale = np.empty((len(local), *scales.row_shape), np.float32)
            _read_local(main, shard, local, numbers, verify=verify)
            _read_local(scales, shard, local, scale, verify=verify)
            dequantise(numbers, scale, target)

    def require(self, rows: Array, *, allow_missing: bool) -> Array:
        """Which of the rows are OK. Rows that nobody computed are an error unless allowed."""
        status = self.status()[rows]
        missing = int((status == Status.MISSING).sum())
        if missing and not allow_missing:
            raise NotComputed(
                f"{self.prefix} lacks {missing} of {len(rows)} videos. Run the same "
                f"`telltale extract` again to compute them, or pass allow_missing=True."
            )
        ok: Array = status == Status.OK
        return ok

    def ensure(self) -> None:
        """Write the arrays' documents where they are missing or shorter than the videos table."""
        for prefix, wanted in self.array_documents(self._videos.count).items():
            there = documents.read(self.place, prefix)
            if there is not None and there["shape"][0] >= wanted["shape"][0]:
                continue
            documents.write(self.place, prefix, wanted)

    def array_documents(self, length: int) -> dict[str, Json]:
        arrays = [stored for name in self.spec.arrays for stored in self.stored(name).values()]
        group = self.group_attributes()
        found = {array.prefix: array.document(length) for array in [*arrays, self._error]}
        # A second copy of what the group says, from which `repair` can restore the group.
        found[self._status.prefix] = self._status.document(length, {"branch": group})
        return found

    def group_attributes(self) -> Json:
        return {"kind": "branch", **self.spec.to_json(), "shard_rows": self.shard_rows}

    def check_documents(self) -> None:
        """Raise Damaged where an array's document is missing or not what the group says."""
        for prefix, wanted in self.array_documents(0).items():
            place = f"{self.place.name}/{documents.document_key(prefix)}"
            there = documents.read(self.place, prefix)
            if there is None:
                raise Damaged(place, "the file is missing")
            if {**there, "shape": there["shape"][1:]} != {**wanted, "shape": wanted["shape"][1:]}:
                raise Damaged(place, "the metadata does not fit its branch")

    def committed(self, shard: int) -> Array | None:
        """A shard's statuses, checked; None where it was never committed."""
        return next(iter(self._statuses([shard])))if self._status.exists(shard) else None

    def chunks_of(self, shard: int, status: Array) -> list[ChunkedArray]:
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

    def _flat(self, name: str, dtype: str) -> ChunkedArray:
        fill: str | int = "" if dtype == "string" else 0
        path = f"{self.prefix}/{name}"
        return ChunkedArray(self.place, path, dtype, self.shard_rows, fill=fill)

    def _statuses(self, shards: Iterable[int]) -> Iterable[Array]:
        shards = list(shards)
        for shard, value in zip(
            shards, self.place.get_many([self._status.key(s) for s in shards]), strict=True
        ):
            yield self._status.decode(shard, value) if value else np.zeros(0, np.uint8)

    def _padded_status(self, shard: int) -> Array:
        status = np.zeros(self.shard_rows, np.uint8)
        committed = self.committed(shard)
        return status if committed is None else committed

    def _checked_status(
        self, shard: int, rows: int, status: Array | None, errors: Mapping[int, str]
    ) -> Array:
        where = f"{self.prefix}, shard {shard}"
        checked = np.ones(rows, np.uint8) if status is None else np.asarray(status)
        if checked.shape != (rows,) or not np.isin(checked, (0, 1, 2)).all():
            raise BadInput(f"{where}: status must be {rows} numbers, each 0, 1 or 2.")
        failed = set(np.flatnonzero(checked == Status.FAILED).tolist())
        if failed != set(errors) or not all(errors.values()):
            raise BadInput(
                f"{where}: rows {sorted(failed)} failed and reasons were given for "
                f"{sorted(errors)}; give each failed row, and no other, a non-empty reason."
            )
        return checked.astype(np.uint8)

    def _check_arrays(self, shard: int, rows: int, arrays: Mapping[str, Array]) -> None:
        where = f"{self.prefix}, shard {shard}"
        if set(arrays) != set(self.spec.arrays):
            raise BadInput(f"{where}: got {sorted(arrays)}, needs {sorted(self.spec.arrays)}.")
        for name, spec in self.spec.arrays.items():
            got, shape = arrays[name], (rows, *spec.shape)
            if got.shape != shape or got.dtype != np.dtype(spec.dtype):
                raise BadInput(
                    f"{where}: {name!r} is {got.dtype}{list(got.shape)}, must be "
                    f"{spec.dtype}{list(shape)}. Convert it before writing."
                )

    def _write_array(  # noqa: PLR0913 (what, where, and which rows)
        self, shard: int, name: str, spec: ArraySpec, data: Array, *, keep: Array, written: Array
    ) -> None:
        if not written.all() or keep.any():
            data = data.copy()
            data[~written] = 0  # the same bytes whatever a failed row happened to hold
        parts = {name: data}
        if spec.quantise == "int8":
            parts = dict(zip((name, f"{name}.scale"), quantise(data, self.prefix), strict=True))
        for part, array in self.stored(name).items():
            if (keep & written).any():
                parts[part][keep & written] = array.read(shard, len(data))[keep & written]
            array.write(shard, parts[part])

    def _write_errors(
        self, shard: int, rows: int, keep: Array, errors: Mapping[int, str]
    ) -> None:
        texts: list[str] = [""] * rows
        if keep.any() and self._error.exists(shard):
            before = self._error.read(shard, rows)
            texts = [str(before[i]) if keep[i] else "" for i in range(rows)]
        for position, text in errors.items():
            texts[position] = text.encode(errors="replace").decode()[:_ERROR_CHARACTERS]
        self._error.write(shard, np.array(texts, object))


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


def _read_local(
    array: ChunkedArray, shard: int, rows: Array, out: Array, *, verify: bool
) -> None:
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows):
        array.read_into(shard, first, out, verify=verify)
    else:
        whole = np.empty((last - first + 1, *array.row_shape), array.numpy_dtype)
        array.read_into(shard, first, whole, verify=verify)
        np.take(whole, rows - first, axis=0, out=out)
