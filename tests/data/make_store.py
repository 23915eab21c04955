"""Makes the stores that every later version must open: `store_v1`, `store_v2`, …

`python -m tests.data.make_store` makes the one of the present format, for a new format alone: what
is committed stays as it is.
"""

import sys
from pathlib import Path

import numpy as np

from features_store import ArraySpec, BranchSpec
from features_store.schema import FORMAT_VERSION
from tests.test_features_store import samples

FORMATS = (1, 2)
VIDEOS = 9
TOKENS = BranchSpec(
    name="depthpro",
    preset="tiny",
    fingerprint="77e0c411",
    arrays={
        "tokens": ArraySpec(shape=(2, 5, 3), quantise="int8"),
        "zipped": ArraySpec(shape=(4,), dtype="float32", compression="zstd"),
    },
)


def store_of(version: int) -> Path:
    return Path(__file__).parent / f"store_v{version}"


def tokens_of(version: int) -> Path:
    """What int8 tokens of that store read as."""
    return Path(__file__).parent / f"store_v{version}_tokens.npy"


def main() -> None:
    path = store_of(FORMAT_VERSION)
    if path.exists():
        sys.exit(f"{path} is there; a committed store is never made anew")
    store = samples.new_store(path, 0)
    groups = [f"prompt {row // 2}" for row in range(VIDEOS)]
    store.add_videos({**samples.video_columns(0, VIDEOS), "group": groups})
    branch = store.branch(samples.PROTOCOL, samples.SPEC, shard_rows=4)
    for shard in range(branch.shards):
        samples.write(branch, shard, only=range(0, VIDEOS, 2))  # committed in two steps
        samples.write(branch, shard)
    samples.write(store.branch(samples.PROTOCOL, TOKENS, shard_rows=5), 0)
    found = store.table(["depthpro/tokens"], allow_missing=True).arrays["depthpro/tokens"]
    np.save(tokens_of(FORMAT_VERSION), found)
    for lock in path.rglob(".lock*"):
        lock.unlink()


if __name__ == "__main__":
    main()
