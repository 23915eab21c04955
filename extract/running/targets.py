"""The arrays in the store that a run fills: the branches', and what was seen of the files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadSetting, is_temporary
from extract.offer import Offer
from extract.running import seen
from extract.running.workload import Rows, Target, Workload, workload
from extract.views.revisions import with_revisions
from features_store import facts, frame_hashes
from features_store.branch_arrays import BranchArrays
from features_store.errors import NotAStore
from features_store.place import Location
from features_store.schema import BranchSpec, Status
from features_store.store import Store

Targets = Mapping[str, BranchArrays]
"""By protocol and group, as `target_name` puts them together."""


def target_name(protocol: str, group: str) -> str:
    return f"{protocol}/{group}"


def of_protocol(targets: Targets, protocol: str) -> dict[str, BranchArrays]:
    """Group → its arrays under one protocol."""
    return {a.spec.group: a for a in targets.values() if a.protocol == protocol}


def own_targets(offer: Offer, targets: Targets) -> dict[str, BranchArrays]:
    """Those that a branch fills."""
    return {
        name: arrays
        for name, arrays in targets.items()
        if offer.made(arrays.spec) and offer.protocol in ("", arrays.protocol)
    }


def all_specs(branches: Sequence[BranchSpec]) -> list[BranchSpec]:
    """In the order in which shards that are whole at once are committed."""
    return [seen.spec(), *branches, facts.spec(), frame_hashes.spec()]


def follows(group: str) -> bool:
    """Filled along with others: no reason to decode a video by itself."""
    return seen.is_seen(group) or group == frame_hashes.spec().group


def existing(where: Location) -> Store | None:
    """The store, where there is one."""
    try:
        return Store.open(where)
    except NotAStore:
        return None


def check_details(where: Location, protocol: str, details: Mapping[str, object]) -> None:
    """Refuse a store whose views of this name are made otherwise, before anything is written.

    `details` are as JSON gives them back, see `Settings.protocol_details`.
    """
    store = existing(where)
    if store is None:
        return
    known = store.protocol_details(protocol)
    if known is None:
        return
    there = with_revisions(known, details)
    if there == details:
        return
    differs = sorted(key for key in {*there, *details} if there.get(key) != details.get(key))
    raise BadSetting(
        f"{store.place.name} has protocol {protocol} with another "
        f"{', '.join(differs)}: {[there.get(key) for key in differs]} there, "
        f"{[details.get(key) for key in differs]} asked for. Views of both never mix; use the "
        f"same, or another store. (Revisions are those of Telltale that made the views.)"
    )


def open_targets(
    store: Store,
    protocol: str,
    details: Mapping[str, object],
    branches: Sequence[BranchSpec],
    shard_rows: int | None,
) -> dict[str, BranchArrays]:
    """Of one protocol, made where they are missing."""
    return {
        target_name(protocol, spec.group): store.branch(
            protocol, spec, shard_rows=shard_rows, protocol_details=details
        )
        for spec in all_specs(branches)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFiles:
    """By protocol: rows whose files are not what they were when they were extracted."""

    rows: Mapping[str, Rows] = field(default_factory=dict)
    anew: bool = False
    """Whether they are done again; else they are left as they are."""

    @property
    def every(self) -> Rows:
        """Under any protocol."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *self.rows.values()]))

    def seen_in(self, protocol: str, status: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Statuses under a protocol: missing where they are done again. Where they are not there
        is nothing to do, since what is added now would be of another file."""
        rows = self.rows.get(protocol, np.empty(0, np.int64))
        status[rows] = Status.MISSING if self.anew else Status.OK
        return status


def missing(
    targets: Targets, rows: Rows, changed: ChangedFiles, *, retry_failed: bool = False
) -> Workload:
    """What has to be done of these rows."""
    found = [
        Target(
            name=name,
            status=open_status(arrays, changed),
            shard_rows=arrays.shard_rows,
            follows=follows(arrays.spec.group),
        )
        for name, arrays in targets.items()
    ]
    return workload(rows, found, retry_failed=retry_failed)


def open_status(arrays: BranchArrays, changed: ChangedFiles) -> NDArray[np.uint8]:
    """A status per video of the store; what may go better the next time is missing."""
    status: NDArray[np.uint8] = arrays.status()
    if (status == Status.FAILED).any():
        again = [row for row, reason in arrays.errors().items() if is_temporary(reason)]
        status[again] = Status.MISSING
    return changed.seen_in(arrays.protocol, status)
