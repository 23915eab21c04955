"""Small stores with numbers that depend on row and array alone, so that anyone can check them."""

from collections.abc import Mapping

import numpy as np

from features_store import ArraySpec, BranchSpec, Store
from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.places import Location

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


def write(branch: BranchArrays, shard: int) -> None:
    """Write a shard as every writer of these samples does, failures included."""
    rows = branch.rows(shard)
    arrays = {
        name: np.stack([numbers(name, row, branch.spec) for row in rows])
        for name in branch.spec.arrays
    }
    status = np.array([2 if failed(row) else 1 for row in rows], np.uint8)
    errors = {i: f"clip {row} has no frames" for i, row in enumerate(rows) if failed(row)}
    branch.write_shard(shard, arrays, status, errors)


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
