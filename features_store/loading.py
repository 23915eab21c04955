"""Reading a selection into memory at once."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array, Piece
from features_store.errors import BadInput
from features_store.lazy import LazyRows
from features_store.selection import Selection
from features_store.table import Table

_READERS = min(8, os.cpu_count() or 1)


def load(selection: Selection, *, verify: bool = True, lazy: Sequence[str] = ()) -> Table:
    """Everything selected, into one allocation per key, filled in parallel; `lazy` keys later."""
    rows = selection.table.rows
    unknown = [key for key in lazy if key not in selection.branches]
    if unknown:
        raise BadInput(
            f"Lazy key {unknown[0]!r} is not among the keys: {', '.join(selection.branches)}."
        )
    later = {key: LazyRows(*selection.branches[key], rows, verify=verify) for key in lazy}
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


def empty(selection: Selection, count: int) -> dict[str, Array]:
    """Memory for the arrays of `count` videos."""
    return {
        key: np.empty((count, *branch.spec.arrays[name].shape), branch.spec.arrays[name].dtype)
        for key, (branch, name) in selection.branches.items()
    }


def _load_part(branch: BranchArrays, name: str, rows: Array, out: Array, *, verify: bool) -> None:
    """Rows (ascending) of one shard."""
    shard = int(rows[0]) // branch.shard_rows
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    pieces = [
        Piece(first=int(rows[run[0]]) - shard * branch.shard_rows, out=out[run[0] : run[-1] + 1])
        for run in np.split(np.arange(len(rows)), cuts)
    ]
    branch.copy_rows(name, shard, pieces, verify=verify)
