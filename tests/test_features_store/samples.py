"""Small stores with numbers that depend on row and array alone, so that anyone can check them."""

from collections.abc import Collection, Mapping

import numpy as np

from features_store import ArraySpec, BranchSpec, Store
from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.place import Location

CLASSES = ("appearance", "spatial", "motion", "real")
PROTOCOL = "test-2x1"
SPEC = BranchSpec(
    name="internvideo2",
    preset="tiny",
    fingerprint="3f9c1a2b" + "0" * 56,
    arrays={
        "cls": ArraySpec(shape=(2, 6)),
        "depth": ArraySpec(shape=(3,), dtype="float32"),
    },
    provenance={"weights": "seeded", "precision": "float32"},
)


def new_store(where: Location, videos: int) -> Store:
    store = Store.create(where, scheme="hfv4", classes=CLASSES)
    if videos:
        store.add_videos(video_columns(0, videos))
    return store


def video_columns(start: int, stop: int) -> dict[str, list[object]]:
    rows = range(start, stop)
    return {
        "id": [f"generator {row % 3}/clip é{row}.mp4" for row in rows],
        "label": [row % 4 for row in rows],
        "rank": [(row % 10) / 10 for row in rows],
        "source": [f"generator {row % 3}" for row in rows],
        "split": ["val" if row % 5 == 0 else "train" for row in rows],
    }


def numbers(name: str, row: int, spec: BranchSpec = SPEC) -> Array:
    array = spec.arrays[name]
    seed = [row, sum(name.encode())]
    return np.random.default_rng(seed).normal(size=array.shape).astype(array.dtype)


def failed(row: int) -> bool:
    return row % 7 == 3


def write(branch: BranchArrays, shard: int, only: Collection[int] | None = None) -> None:
    """Write a shard, or some of its videos, as every writer of these samples does."""
    rows = branch.rows(shard)
    arrays = {
        name: np.stack([numbers(name, row, branch.spec) for row in rows])
        for name in branch.spec.arrays
    }
    mine = [only is None or row in only for row in rows]
    status = np.array([m and (2 if failed(r) else 1) for m, r in zip(mine, rows, strict=True)])
    errors = {i: f"clip {rows[i]} has no frames" for i in np.flatnonzero(status == 2).tolist()}
    branch.write_shard(shard, arrays, status.astype(np.uint8), errors)


def full_store(where: Location, videos: int = 11, shard_rows: int = 4) -> Store:
    store = new_store(where, videos)
    branch = store.branch(PROTOCOL, SPEC, shard_rows=shard_rows)
    for shard in branch.missing_shards():
        write(branch, shard)
    return store


def contents(store: Store) -> Mapping[str, object]:
    """Everything a reader can see, for comparing two stores."""
    seen: dict[str, object] = {"videos": store.videos.column("id").tolist()}
    for protocol in store.protocols():
        for group in store.branches(protocol):
            branch = store.open_branch(protocol, group)
            seen[f"{branch.prefix} status"] = branch.status().tolist()
            seen[f"{branch.prefix} errors"] = branch.errors()
            for shard in range(branch.shards):
                for name, rows in branch.read_shard(shard).parts.items():
                    seen[f"{branch.prefix}/{name} {shard}"] = rows.tobytes()
    return seen
