"""The arrays in the store that a run fills: the branches', and what was seen of the files."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadSetting, is_temporary
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
    """Refuse a store whose views of this name are made otherwise, before anything is written."""
    store = existing(where)
    if store is None:
        return
    known = store.protocol_details(protocol)
    if known is None:
        return
    wanted = json.loads(json.dumps(details))
    there = with_revisions(known, wanted)
    if there == wanted:
        return
    differs = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
    raise BadSetting(
        f"{store.place.name} has protocol {protocol} with another "
        f"{', '.join(differs)}: {[there.get(key) for key in differs]} there, "
        f"{[wanted.get(key) for key in differs]} asked for. Views of both never mix; use the "
        f"same, or another store. (Revisions are those of Telltale that made the views.)"
    )


def open_targets(
    store: Store,
    protocol: str,
    details: Mapping[str, object],
    branches: Sequence[BranchSpec],
    shard_rows: int | None,
) -> dict[str, BranchArrays]:
    """By group, made where they are missing."""
    return {
        spec.group: store.branch(
            protocol, spec, shard_rows=shard_rows, protocol_details=json.loads(json.dumps(details))
        )
        for spec in all_specs(branches)
    }


def missing(targets: Targets, rows: Rows, anew: Rows, *, retry_failed: bool = False) -> Workload:
    """What has to be done of these rows; `anew`, whatever is there."""
    found = [
        Target(
            name=name,
            status=open_status(arrays, anew),
            shard_rows=arrays.shard_rows,
            follows=follows(name),
        )
        for name, arrays in targets.items()
    ]
    return workload(rows, found, retry_failed=retry_failed)


def open_status(arrays: BranchArrays, anew: Rows) -> NDArray[np.uint8]:
    """A status per video of the store; what may go better the next time is missing."""
    status: NDArray[np.uint8] = arrays.status()
    if (status == Status.FAILED).any():
        again = [row for row, reason in arrays.errors().items() if is_temporary(reason)]
        status[again] = Status.MISSING
    status[anew] = Status.MISSING
    return status
