"""Arrays of many videos in memory, beside their labels and ranks.

A key names an array: `internvideo2/cls`, or with more of the branch's name where that is needed,
`internvideo2-L14@3f9c1a2b/cls`.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array, Piece
from features_store.errors import AmbiguousKey, BadInput, NotComputed, UnknownKey
from features_store.lazy import LazyRows

if TYPE_CHECKING:
    from features_store.store import Store
    from features_store.videos import Videos

FILTERS = ("id", "label", "source", "split")
Where = Mapping[str, str | Sequence[str]] | Array | None
"""Which videos: column → value or values (labels by class name), or a mask over all videos."""

_READERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Videos and their arrays, row by row."""

    protocol: str
    classes: tuple[str, ...]
    rows: Array
    """(n) the videos' rows in the store."""
    ids: Array
    labels: Array
    """(n) int16, -1 where a video has no label."""
    ranks: Array
    """(n) float64, NaN where a video has no rank."""
    sources: Array
    splits: Array
    arrays: Mapping[str, Array]
    """Per key as asked for: (n, *shape)."""
    fingerprints: Mapping[str, str]
    """Per key: who made the numbers."""
    failed: int = 0
    """Videos that were selected and left out because they failed in a branch."""
    missing: int = 0
    """Videos left out because they were not computed yet (only with allow_missing)."""
    lazy: Mapping[str, LazyRows] = field(default_factory=dict)
    """Keys that were to stay on the disk."""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{key} {a.dtype}{list(a.shape)}" for key, a in self.arrays.items())
        return f"Table({self.protocol}, {len(self)} videos, {self.failed} failed; {shapes})"

    def take(self, index: Array | slice) -> "Table":
        """Some of the rows; `index` as NumPy takes it."""
        return replace(
            self,
            rows=self.rows[index],
            ids=self.ids[index],
            labels=self.labels[index],
            ranks=self.ranks[index],
            sources=self.sources[index],
            splits=self.splits[index],
            arrays={key: array[index] for key, array in self.arrays.items()},
            lazy={key: rows.take(index) for key, rows in self.lazy.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to read: resolved keys, and a table that has everything but the arrays."""

    table: Table
    branches: Mapping[str, tuple[BranchArrays, str]]
    """Per key: the branch and the array's name in it."""


def select(
    store: "Store",
    keys: Sequence[str],
    protocol: str | None,
    where: Where,
    *,
    allow_missing: bool,
) -> Selection:
    """Resolve names and decide on rows, without reading any features."""
    if isinstance(keys, str) or not keys or len(set(keys)) != len(keys):
        raise BadInput(f"Keys {keys!r}: give a list of different keys such as 'internvideo2/cls'.")
    protocol = protocol or _only_protocol(store)
    branches = {key: resolve(store, protocol, key) for key in keys}
    wanted = np.flatnonzero(_mask(store.videos, where))
    ok = np.ones(len(wanted), bool)
    missing = np.zeros(len(wanted), bool)
    for branch in {branch.prefix: branch for branch, _ in branches.values()}.values():
        status = branch.status(wanted)
        if not allow_missing:
            branch.require_computed(status)
        missing |= status == 0
        ok &= status == 1
    if not ok.any():
        raise NotComputed(
            f"No video to read: {len(wanted)} selected, {int(missing.sum())} not computed yet, "
            f"{int((~ok & ~missing).sum())} failed. Choose others with `where`, or extract more."
        )
    rows = wanted[ok]
    videos = store.videos
    table = Table(
        protocol=protocol,
        classes=store.classes,
        rows=rows,
        ids=videos.column("id")[rows],
        labels=videos.column("label")[rows],
        ranks=videos.column("rank")[rows],
        sources=videos.column("source")[rows],
        splits=videos.column("split")[rows],
        arrays={},
        fingerprints={key: branch.spec.fingerprint for key, (branch, _) in branches.items()},
        failed=int((~ok & ~missing).sum()),
        missing=int(missing.sum()),
    )
    return Selection(table=table, branches=branches)


def load(selection: Selection, *, verify: bool = True, lazy: Sequence[str] = ()) -> Table:
    """Everything selected, into one allocation per key, filled in parallel; `lazy` keys later."""
    rows = selection.table.rows
    later = {
        key: LazyRows(*selection.branches[key], rows) for key in lazy if key in selection.branches
    }
    branches = {key: found for key, found in selection.branches.items() if key not in later}
    selection = replace(selection, branches=branches)
    arrays = empty(selection, len(rows))
    with ThreadPoolExecutor(_READERS) as pool:
        jobs = []
        for key, (branch, name) in selection.branches.items():
            shards = rows // branch.shard_rows
            bounds = np.concatenate([[0], np.flatnonzero(np.diff(shards)) + 1, [len(rows)]])
            for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                out = arrays[key][start:stop]
                wanted = rows[start:stop]
                jobs.append(pool.submit(_load_part, branch, name, wanted, out, verify=verify))
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return replace(selection.table, arrays=arrays, lazy=later)


def _load_part(branch: BranchArrays, name: str, rows: Array, out: Array, *, verify: bool) -> None:
    """Rows (ascending) of one shard."""
    shard = int(rows[0]) // branch.shard_rows
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    pieces = [
        Piece(first=int(rows[run[0]]) - shard * branch.shard_rows, out=out[run[0] : run[-1] + 1])
        for run in np.split(np.arange(len(rows)), cuts)
    ]
    branch.copy_rows(name, shard, pieces, verify=verify)


def empty(selection: Selection, count: int) -> dict[str, Array]:
    """Room for the arrays of `count` videos."""
    return {
        key: np.empty((count, *branch.spec.arrays[name].shape), branch.spec.arrays[name].dtype)
        for key, (branch, name) in selection.branches.items()
    }


def _only_protocol(store: "Store") -> str:
    protocols = store.protocols()
    if not protocols:
        raise UnknownKey(f"{store.place.name} holds no features yet; run `telltale extract`.")
    if len(protocols) > 1:
        raise AmbiguousKey(f"Which protocol? The store has {', '.join(protocols)}; name one.")
    return protocols[0]


def resolve(store: "Store", protocol: str, key: str) -> tuple[BranchArrays, str]:
    name, slash, array = key.partition("/")
    if not slash or not name or not array:
        raise BadInput(f"Key {key!r}: give BRANCH/ARRAY, such as 'internvideo2/cls'.")
    fitting = [store.open_branch(protocol, group) for group in store.fitting(protocol, name)]
    holding = [branch for branch in fitting if array in branch.spec.arrays]
    if not holding:
        have = ", ".join(name for branch in fitting for name in branch.spec.arrays)
        where = " and ".join(branch.prefix for branch in fitting)
        raise UnknownKey(f"Array {array!r} unknown in {where}; have: {have}.")
    if len(holding) > 1:
        groups = " and ".join(branch.spec.group for branch in holding)
        raise AmbiguousKey(
            f"{key!r} fits {groups} under {protocol}; give one in full, as in "
            f"'{holding[0].spec.group}/{array}'."
        )
    return holding[0], array


def _mask(videos: "Videos", where: Where) -> Array:
    if where is None:
        return np.ones(videos.count, bool)
    if isinstance(where, np.ndarray):
        if where.dtype != bool or where.shape != (videos.count,):
            raise BadInput(
                f"where is {where.dtype}{list(where.shape)}; a mask must be bool[{videos.count}], "
                f"one for each video of the store."
            )
        return where
    mask = np.ones(videos.count, bool)
    for name, values in where.items():
        if name not in FILTERS:
            raise BadInput(f"Cannot select by {name!r}; have: {', '.join(FILTERS)}.")
        wanted = [values] if isinstance(values, str) else list(values)
        mask &= np.isin(videos.column(name), _column_values(videos, name, wanted))
    return mask


def _column_values(videos: "Videos", name: str, wanted: Sequence[str]) -> Array:
    if name != "label":
        return np.array(wanted, np.dtypes.StringDType())
    unknown = [label for label in wanted if label not in videos.classes]
    if unknown:
        raise BadInput(f"Label {unknown[0]!r} unknown; have: {', '.join(videos.classes)}.")
    return np.array([videos.classes.index(label) for label in wanted], np.int16)
