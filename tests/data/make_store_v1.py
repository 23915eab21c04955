"""Makes `store_v1`, the store that every later version must open.

Run `python -m tests.data.make_store_v1` only for a store of a new format, under a new name.
"""

import shutil
from pathlib import Path

import numpy as np

from features_store import ArraySpec, BranchSpec, Store
from tests.test_features_store import samples

STORE = Path(__file__).parent / "store_v1"
TOKENS = BranchSpec(
    name="depthpro",
    preset="tiny",
    fingerprint="77e0c411",
    arrays={
        "tokens": ArraySpec(shape=(2, 5, 3), quantise="int8"),
        "zipped": ArraySpec(shape=(4,), dtype="float32", compression="zstd"),
    },
)


def main() -> None:
    shutil.rmtree(STORE, ignore_errors=True)
    store: Store = samples.full_store(STORE, videos=9, shard_rows=4)
    branch = store.branch(samples.PROTOCOL, TOKENS, shard_rows=5)
    samples.write(branch, 0)
    expected = store.table(["depthpro/tokens"], allow_missing=True).arrays["depthpro/tokens"]
    np.save(STORE.with_name("store_v1_tokens.npy"), expected)


if __name__ == "__main__":
    main()
