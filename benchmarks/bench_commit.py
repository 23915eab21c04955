"""What a commit of a shard takes: its chunks written side by side, against one after another.

    python -m benchmarks.bench_commit [--runs 7] [--folder FOLDER]

Each chunk is a file that is written, flushed and renamed, and its folder flushed, before the record
that names them all. Shards as `extract` writes them: pooled vectors of `val` and of `test-4x3`, and
those with tokens. The ways in turns; milliseconds a commit, medians of runs, each a new store.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import measure
from features_store import ArraySpec, BranchSpec, Store, shard_writer

ONE, NOW = "one after another", "side by side"
POOLED = {"cls": 1024, "avg": 1024, "attn": 768}
CASES: Mapping[str, tuple[int, int, Mapping[str, ArraySpec]]] = {
    "pooled, val (3 chunks, 1 MB)": (
        24, 256, {name: ArraySpec(shape=(1, width)) for name, width in POOLED.items()},
    ),
    "pooled, test-4x3 (3 chunks, 17 MB)": (
        24, 256, {name: ArraySpec(shape=(12, width)) for name, width in POOLED.items()},
    ),
    "tokens and pooled, val (4 chunks, 67 MB)": (
        6, 16, {
            **{name: ArraySpec(shape=(1, width)) for name, width in POOLED.items()},
            "tokens": ArraySpec(shape=(1, 2049, 1024)),
        },
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    given = parser.parse_args()
    side_by_side = shard_writer.AT_ONCE
    rows: list[measure.Row] = []
    for what, (shards, per_shard, arrays) in CASES.items():
        found: dict[str, list[float]] = {ONE: [], NOW: []}
        for _ in range(given.runs):
            for way, figures in found.items():
                shard_writer.AT_ONCE = 1 if way == ONE else side_by_side
                figures.append(commit(given.folder, shards, per_shard, arrays))
        base = statistics.median(found[ONE])
        rows += [
            {
                "what": f"{what}, {way}", "ms": statistics.median(each), "least": min(each),
                "most": max(each), f"speed against {ONE}": base / statistics.median(each),
                "n": given.runs,
            }
            for way, each in found.items()
        ]  # fmt: skip
    measure.report("commit", rows, ("zarr", "numpy"))


def commit(
    folder: Path | None, shards: int, per_shard: int, arrays: Mapping[str, ArraySpec]
) -> float:
    """Milliseconds each, of so many commits into a new store."""
    spec = BranchSpec(name="bench", preset="commit", fingerprint="00000003", arrays=arrays)
    random = np.random.default_rng(0)
    rows = {
        name: random.integers(0, 1000, (per_shard, *array.shape)).astype(np.float16)
        for name, array in arrays.items()
    }
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = Store.create(Path(place) / "s", scheme="hfv2", classes=("forgery", "real"))
        store.add_videos({"id": [f"{row}.mp4" for row in range(shards * per_shard)]})
        branch = store.branch("val", spec, shard_rows=per_shard)
        start = time.perf_counter()
        for shard in range(shards):
            branch.write_shard(shard, rows)
        return (time.perf_counter() - start) / shards * 1000


if __name__ == "__main__":
    main()
