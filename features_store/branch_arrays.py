"""What one branch said about every video under one protocol: its arrays, shard by shard.

A shard is a run of R consecutive videos. Its data chunks are written first, its errors next, its
status chunk last: the status chunk is the commit record. How many writers share that is told in
`shard_writer`.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from features_store import documents, shard_content, shard_writer
from features_store.chunks import Array, ChunkedArray, Piece
from features_store.documents import Json
from features_store.errors import BadInput, Damaged, NotComputed, SpecMismatch
from features_store.place import Place
from features_store.place.place import exclusively
from features_store.schema import BranchSpec, Status
from features_store.shard_content import ShardContent
from features_store.shard_files import ShardFiles
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
        self.files = ShardFiles(place, self.prefix, self.spec, self.shard_rows, videos.layout)
        self._videos = videos

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
        shards, which = np.unique(wanted // self.shard_rows, return_inverse=True)
        found = self.files.statuses(shards.tolist())
        status: Array = found[which, wanted % self.shard_rows]
        return status

    def errors(self, rows: Array | None = None) -> dict[int, str]:
        """Why videos failed, by row: all of them, or those of `rows`."""
        wanted = np.arange(self._videos.count) if rows is None else rows
        failed = wanted[self.status(wanted) == Status.FAILED]
        found: dict[int, str] = {}
        for shard in np.unique(failed // self.shard_rows).tolist():
            first = shard * self.shard_rows
            reasons = self.files.reasons(shard)
            mine = failed[failed // self.shard_rows == shard].tolist()
            found |= {row: reasons[row - first] for row in mine if row - first in reasons}
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
        What is OK in the store stays, too: see `forget_rows`. `errors` gives the reason for each
        failed row, by its position in the shard.
        """
        where, rows = f"{self.prefix}, shard {shard}", len(self.rows(shard))
        outcome = (status, errors or {})
        content = shard_content.checked(where, self.spec.arrays, rows, arrays, outcome)
        self.commit(shard, content)

    def commit(self, shard: int, content: ShardContent) -> None:
        """The same for what is laid out as it is stored."""
        shard_writer.write(self.files, shard, content)

    def forget_rows(self, rows: Array) -> None:
        """Mark videos missing, so that the next writer's numbers of them are taken."""
        shards = rows // self.shard_rows
        for shard in np.unique(shards).tolist():
            positions = rows[shards == shard] - shard * self.shard_rows
            shard_writer.forget(self.files, shard, positions)

    def forget(self, shard: int) -> None:
        """Mark a shard missing."""
        shard_writer.forget(self.files, shard)

    def read_shard(self, shard: int) -> ShardContent:
        """All that is stored of a shard, checked."""
        rows = len(self.rows(shard))
        if self.files.record(shard) is None:
            return ShardContent(parts={}, status=np.zeros(rows, np.uint8), errors=None)
        return self.files.read(shard, rows)

    def read_status(self, shard: int) -> Array:
        """The statuses of a shard's videos; all missing where it was never committed."""
        status: Array = self.files.statuses([shard])[0, : len(self.rows(shard))]
        return status

    def over_all_videos(self, name: str, fill: float = 0) -> Array:
        """One array over all videos of the store, `fill` where a video is not OK."""
        return self.of_videos(name, np.arange(self._videos.count), fill)

    def of_videos(self, name: str, wanted: Array, fill: float = 0) -> Array:
        """The same for some rows, in their order; no more is read than they need."""
        spec = self.spec.arrays[name]
        found = np.full((len(wanted), *spec.shape), fill, spec.dtype)
        ok = np.flatnonzero(self.status(wanted) == Status.OK)
        shards = wanted[ok] // self.shard_rows
        for shard in np.unique(shards).tolist():
            places = ok[shards == shard]
            rows = wanted[places] - shard * self.shard_rows
            found[places] = self.files.rows_of(name, shard, rows)
        return found

    def stored(self, name: str) -> dict[str, ChunkedArray]:
        """The Zarr arrays behind one named array: itself, and its scales when quantised."""
        return self.files.data[name]

    def copy_rows(
        self, name: str, shard: int, pieces: Sequence[Piece], *, verify: bool = True
    ) -> None:
        """Copy rows of one array of a shard into place, whatever their status."""
        self.files.copy_rows(name, shard, pieces, verify=verify)

    def info(self) -> Json:
        """What there is of it, as plain data."""
        counts = np.bincount(self.status(), minlength=3).tolist()
        arrays = self.spec.arrays
        return {
            "branch": self.spec.group,
            "fingerprint": self.spec.fingerprint,
            "arrays": {name: f"{a.dtype}{list(a.shape)}" for name, a in arrays.items()},
            "shards": self.shards,
            "shard_rows": self.shard_rows,
            "ok": counts[Status.OK],
            "failed": counts[Status.FAILED],
            "missing": counts[Status.MISSING],
            "bytes": counts[Status.OK] * sum(a.row_bytes for a in arrays.values()),
        }

    def require_computed(self, status: Array) -> None:
        """Refuse to go on with videos that nobody computed: they would silently be left out."""
        missing = int((status == Status.MISSING).sum())
        if missing:
            raise NotComputed(
                f"{self.prefix} lacks {missing} of {len(status)} videos. Run the same "
                f"`telltale extract` again to compute them, or leave them out: by --split or "
                f"--source, from Python by allow_missing=True."
            )

    def ensure(self) -> None:
        """Write the arrays' documents where they are missing or shorter than the videos table."""
        if self._short():
            exclusively(self.place, self.files.records.lock(0), self._lengthen)

    def _lengthen(self) -> None:
        for prefix, wanted in self._short().items():
            seen = self.place.version(documents.document_key(prefix))
            if prefix in self._short():  # the version first: a longer one may have come since
                documents.swap(self.place, prefix, wanted, seen)

    def _short(self) -> dict[str, Json]:
        found = {}
        for prefix, wanted in self.array_documents(self._videos.count).items():
            there = documents.read(self.place, prefix)
            if there is None or there["shape"][0] < wanted["shape"][0]:
                found[prefix] = wanted
        return found

    def array_documents(self, length: int) -> dict[str, Json]:
        arrays = [*self.files.parts().values(), self.files.error]
        found = {array.prefix: array.document(length) for array in arrays}
        # A second copy of what the groups above say, from which `repair` can restore them.
        records = self.files.records
        found[records.prefix] = records.document(length, {"groups": self.groups})
        return found

    def document_damage(self) -> Iterator[Damaged]:
        """Arrays whose document is missing, damaged, or not what the group says."""
        for prefix, wanted in self.array_documents(0).items():
            where = f"{self.place.name}/{documents.document_key(prefix)}"
            try:
                there = documents.read(self.place, prefix)
            except Damaged as damage:
                yield damage
                continue
            if there is None:
                yield Damaged(where, "the file is missing")
            elif _any_length(there) != _any_length(wanted):
                yield Damaged(where, "the metadata does not fit its branch")


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
