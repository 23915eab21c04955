"""A small store of made-up features with splits, as extraction would leave it."""

from pathlib import Path

import numpy as np

from features_store import ArraySpec, BranchSpec, Status, Store
from features_store.table import Table
from tests.test_heads.tables import CLASSES, KEYS, table


def write_store(place: Path, videos: int = 120, **signal: float) -> Store:
    """Half train, a quarter val, a quarter test."""
    found = table(videos, seed=5, **signal)  # type: ignore[arg-type]
    splits = [("train", "train", "val", "test")[i // 4 % 4] for i in range(videos)]
    store = Store.create(place, scheme="hfv4", classes=CLASSES)
    store.add_videos(
        {
            "id": [str(name) for name in found.ids],
            "label": found.labels,
            "rank": found.ranks,
            "source": [str(name) for name in found.sources],
            "split": splits,
        }
    )
    write_features(store, found)
    return store


def write_features(  # noqa: PLR0913 (what a test may want otherwise)
    store: Store,
    found: Table,
    protocol: str = "val",
    *,
    fingerprint: str = "a" * 64,
    shards: int = 99,
    keys: tuple[str, ...] = KEYS,
    split: str | None = None,
) -> None:
    """Both branches' arrays, of no more than so many shards, or of one split's videos."""
    status = np.full(store.videos.count, Status.OK, np.uint8)
    if split is not None:
        status[store.videos.column("split") != split] = Status.MISSING
    for branch in ("internvideo2", "depthpro"):
        own = [key for key in keys if key.startswith(branch)]
        specs = {key.partition("/")[2]: ArraySpec(shape=found.arrays[key].shape[1:]) for key in own}
        spec = BranchSpec(name=branch, preset="tiny", fingerprint=fingerprint, arrays=specs)
        made = store.branch(protocol, spec, shard_rows=32)
        for shard in range(min(shards, made.shards)):
            rows = made.rows(shard)
            made.write_shard(
                shard,
                {key.partition("/")[2]: found.arrays[key][rows.start : rows.stop] for key in own},
                status[rows.start : rows.stop],
            )
