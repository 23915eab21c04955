"""Which videos and which arrays of a store are wanted, before any feature is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.errors import BadInput, NotComputed
from features_store.schema import Status
from features_store.table import Table, Where
from features_store.videos import Videos

FILTERS = ("id", "label", "source", "split", "group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is wanted: the rows that are there, and where to read from."""

    table: Table
    """Without arrays yet."""
    branches: Mapping[str, tuple[BranchArrays, str]]
    """Per key: the branch and the array's name in it."""


def select(
    videos: Videos,
    branches: Mapping[str, tuple[BranchArrays, str]],
    where: Where,
    *,
    allow_missing: bool,
) -> Selection:
    """Decide on rows: those that fit `where` and are OK in every branch."""
    wanted = np.flatnonzero(_mask(videos, where))
    ok = np.ones(len(wanted), bool)
    missing = np.zeros(len(wanted), bool)
    for branch in {branch.prefix: branch for branch, _ in branches.values()}.values():
        status = branch.status(wanted)
        if not allow_missing:
            branch.require_computed(status)
        missing |= status == Status.MISSING
        ok &= status == Status.OK
    failed = int((~ok & ~missing).sum())
    if not ok.any():
        raise NotComputed(
            f"No video to read: {len(wanted)} selected, {int(missing.sum())} not computed yet, "
            f"{failed} failed. Choose others with `where`, or extract more."
        )
    rows = wanted[ok]
    table = Table(
        protocol=next(branch.protocol for branch, _ in branches.values()),
        classes=videos.classes,
        rows=rows,
        ids=videos.column("id")[rows],
        labels=videos.column("label")[rows],
        ranks=videos.column("rank")[rows],
        sources=videos.column("source")[rows],
        splits=videos.column("split")[rows],
        arrays={},
        fingerprints={key: branch.spec.fingerprint for key, (branch, _) in branches.items()},
        failed=failed,
        missing=int(missing.sum()),
    )
    return Selection(table=table, branches=branches)


def _mask(videos: Videos, where: Where) -> Array:
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
        mask &= _among(videos.column(name), _stored(videos, name, wanted))
    return mask


def _among(column: Array, wanted: Sequence[str | int]) -> Array:
    """Where a column's value is one of the wanted. A set: NumPy compares texts each with each."""
    known = frozenset(wanted)
    return np.fromiter((value in known for value in column.tolist()), bool, len(column))


def _stored(videos: Videos, name: str, wanted: Sequence[str]) -> Sequence[str | int]:
    if name != "label":
        return [str(value) for value in wanted]
    unknown = [label for label in wanted if label not in videos.classes]
    if unknown:
        raise BadInput(f"Label {unknown[0]!r} unknown; have: {', '.join(videos.classes)}.")
    return [videos.classes.index(label) for label in wanted]
