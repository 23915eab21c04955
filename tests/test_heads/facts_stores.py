"""Stores with facts about made-up files, as extraction would leave them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from features_store import BranchSpec, Store, facts, frame_hashes
from features_store.chunks import Array
from tests.test_heads.tables import CLASSES

Facts = dict[str, Sequence[object]]


def write_facts(store: Store, known: Mapping[str, Sequence[object]], protocol: str = "val") -> None:
    """Columns of facts, one value a video of the store; `hashes` too."""
    rows = [dict(zip(known, values, strict=True)) for values in zip(*known.values(), strict=True)]
    looks = [row.pop("hashes", ()) for row in rows]
    _write(store, protocol, facts.spec(), [facts.encode(row) for row in rows])
    if any(looks):
        hashes = [frame_hashes.encode(look) for look in looks]
        _write(store, protocol, frame_hashes.spec(), hashes)


def _write(
    store: Store, protocol: str, spec: BranchSpec, encoded: Sequence[Mapping[str, Array]]
) -> None:
    branch = store.branch(protocol, spec)
    for shard in range(branch.shards):
        there = branch.rows(shard)
        branch.write_shard(
            shard,
            {name: np.stack([encoded[row][name] for row in there]) for name in spec.arrays},
        )


def facts_store(
    place: Path,
    labels: Sequence[int],
    known: Mapping[str, Sequence[object]],
    *,
    sources: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
) -> Store:
    """A store of labelled videos of which nothing is known but facts."""
    store = Store.create(place, scheme="hfv4", classes=CLASSES)
    count = len(labels)
    store.add_videos(
        {
            "id": [f"{number}.mp4" for number in range(count)],
            "label": labels,
            "source": sources or ["kling"] * count,
            "split": splits or [""] * count,
        }
    )
    write_facts(store, {"frames": [48.0] * count, **known})
    return store


def ordinary(count: int, seed: int = 1) -> Facts:
    """Facts that have nothing to do with anything."""
    random = np.random.default_rng(seed)
    return {
        "frames": random.integers(20, 90, count).tolist(),
        "duration": random.uniform(2, 9, count).tolist(),
        "fps": random.choice([8.0, 24.0, 25.0, 30.0], count).tolist(),
        "width": random.choice([640, 1280, 1920], count).tolist(),
        "height": random.choice([480, 720, 1080], count).tolist(),
        "file_bytes": random.lognormal(12, 1, count).tolist(),
        "codec": random.choice(["h264", "hevc"], count).tolist(),
    }
