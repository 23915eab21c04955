"""Small extractions for tests: a data set, how a store is filled, and when two stores are equal."""

from pathlib import Path

import numpy as np

from extract.branch import Branch, BranchRequest, load_branch
from extract.manifest.manifest import Manifest, read_manifest
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.running.summary import Summary
from extract.running.workload import Part
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from features_store import Store

SHARD_ROWS = 4


def write_videos(folder: Path, count: int = 24) -> Manifest:
    """A made-up data set; one of its files is damaged."""
    for _ in write_data_set(folder, SyntheticOptions(videos=count, seed=3, difficulty=0.3)):
        pass
    broken = Path(read_manifest(str(folder)).videos[5].path)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    return read_manifest(str(folder))


def tiny(*names: str) -> list[Branch]:
    return [load_branch(BranchRequest.parse(f"{name}=tiny")) for name in names]


def settings(**changes: object) -> Settings:
    return Settings(**{"protocol": "val", "shard_rows": SHARD_ROWS, **changes})  # type: ignore[arg-type]


def extract(
    manifest: Manifest,
    where: Path,
    how: Settings | None = None,
    *,
    branches: tuple[str, ...] = ("internvideo2",),
    part: Part | None = None,
    workers: int = 2,
) -> Summary:
    how = how or settings()
    extraction = Extraction.begin(manifest, where, tiny(*branches), how, part)
    return extraction.run(workers=workers, bar=False)


def assert_equal_stores(a: Path, b: Path) -> None:
    """Arrays, status and errors, to the bit."""
    one, two = Store.open(a), Store.open(b)
    assert one.protocols() == two.protocols()
    np.testing.assert_array_equal(one.videos.column("id"), two.videos.column("id"))
    for protocol in one.protocols():
        assert one.branches(protocol) == two.branches(protocol)
        for name in one.branches(protocol):
            left, right = (store.open_branch(protocol, name) for store in (one, two))
            np.testing.assert_array_equal(left.status(), right.status())
            assert left.errors() == right.errors()
            for shard in range(left.shards):
                parts = left.read_shard(shard).parts
                others = right.read_shard(shard).parts
                assert parts.keys() == others.keys()
                for key, numbers in parts.items():
                    assert numbers.tobytes() == others[key].tobytes(), (name, key, shard)


def committed(store: Path) -> int:
    """How many shards of branches are in a store, whoever writes it now."""
    return sum(1 for _ in store.glob("val/internvideo2*/status/c.*"))
