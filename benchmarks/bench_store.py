"""The feature store against plain files: `python -m benchmarks.bench_store [--quick]`.

Baselines read the same numbers from one `np.memmap` into memory, or write them to plain files and
flush those. The page cache is warm for all.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from features_store import ArraySpec, BranchSpec, Store
from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.place import LocalPlace
from features_store.record import Record
from features_store.schema import Status
from features_store.stream import stated_bytes

POOLED = BranchSpec(
    name="internvideo2",
    preset="bench",
    fingerprint="00000001",
    arrays={
        "cls": ArraySpec(shape=(12, 1024)),
        "avg": ArraySpec(shape=(12, 1024)),
        "attn": ArraySpec(shape=(12, 768)),
    },
)
TOKENS = BranchSpec(
    name="tokens",
    preset="bench",
    fingerprint="00000002",
    arrays={"tokens": ArraySpec(shape=(1, 2049, 1024))},
)
TOKEN_BATCH = 4
RUNS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data, for trying it out")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        print_peak(arguments.peak_of)
        return
    folder = Path(tempfile.mkdtemp(prefix="telltale-bench-", dir=arguments.folder))
    try:
        rows = [
            *pooled(folder, 1_000 if arguments.quick else 5_400),
            *tokens(folder, 32 if arguments.quick else 768),
            *writing(folder, 15 if arguments.quick else 60),
            *huge(folder, 50_000 if arguments.quick else 1_000_000),
            *imports(),
        ]
    finally:
        shutil.rmtree(folder)
    measure.report("store", rows, ("numpy", "zarr", "crc32c"))


def pooled(folder: Path, videos: int) -> list[measure.Row]:
    """Loading a whole data set's pooled features into memory."""
    store, branch = _filled(folder / "pooled", POOLED, videos)
    plain = {name: _memmap(folder / f"{name}.bin", branch, name, videos) for name in POOLED.arrays}
    keys = [f"internvideo2/{name}" for name in POOLED.arrays]
    work = {
        "memmap": lambda: [np.array(_again(array)) for array in plain.values()],
        "table": lambda: Store.open(store.place.name).table(keys),
        "table again": lambda: store.table(keys),
        "table unchecked": lambda: store.table(keys, verify=False),
        "zarr": lambda: _plain_zarr(branch, list(POOLED.arrays)),
    }
    size = sum(array.nbytes for array in plain.values())
    return _rows("load pooled", work, "memmap", size, runs=RUNS)


def tokens(folder: Path, videos: int) -> list[measure.Row]:
    """Streaming tokens in order, and shuffled by video, in batches."""
    store, branch = _filled(folder / "tokens", TOKENS, videos)
    plain = _memmap(folder / "tokens.bin", branch, "tokens", videos)

    def copy(order: Array) -> None:
        mapped = _again(plain)
        for start in range(0, videos, TOKEN_BATCH):
            assert len(mapped[order[start : start + TOKEN_BATCH]])  # a copy, as fancy indexing is

    def stream(opened: Store, *, shuffle: int | None, verify: bool) -> None:
        parts = opened.stream(["tokens/tokens"], batch=TOKEN_BATCH, shuffle=shuffle, verify=verify)
        assert sum(len(part) for part in parts) == videos

    rows: list[measure.Row] = []
    for title, order, seed in (
        ("stream in order", np.arange(videos), None),
        ("stream shuffled", np.random.default_rng(0).permutation(videos), 1),
    ):
        work = {
            "memmap": lambda order=order: copy(order),
            "first epoch": lambda seed=seed: stream(
                Store.open(store.place.name), shuffle=seed, verify=True
            ),
            "later epochs": lambda seed=seed: stream(store, shuffle=seed, verify=True),
            "unchecked": lambda seed=seed: stream(store, shuffle=seed, verify=False),
        }
        rows += _rows(title, work, "memmap", plain.nbytes, runs=RUNS)
    selection = store.select(["tokens/tokens"])
    bound = stated_bytes(selection, TOKEN_BATCH, hold=4)
    rows.append(
        {
            "what": "memory while streaming shuffled",
            "peak MB": _peak(folder / "tokens") / 1e6,
            "stated MB": bound / 1e6,
            "data MB": plain.nbytes / 1e6,
        }
    )
    return rows


def writing(folder: Path, videos: int) -> list[measure.Row]:
    """Committing token shards, flushed to the disk, against plain files of the same bytes."""
    data = _random((videos, *TOKENS.arrays["tokens"].shape))
    rows_per_shard = TOKENS.default_shard_rows()
    made = [_store(folder / f"written-{i}", videos).branch("val", TOKENS) for i in range(1 + RUNS)]
    unused, serial = iter(made), itertools.count()

    def plain() -> None:
        for start in range(0, videos, rows_per_shard):
            with (folder / f"plain-{next(serial)}").open("xb") as file:
                file.write(data[start : start + rows_per_shard].data)
                file.flush()
                os.fsync(file.fileno())

    def store() -> None:
        branch = next(unused)
        for shard in range(branch.shards):
            rows = branch.rows(shard)
            branch.write_shard(shard, {"tokens": data[rows.start : rows.stop]})

    def clean() -> None:
        for path in folder.glob("plain-*"):
            path.unlink()
        for path in folder.glob("written-*"):
            shutil.rmtree(path)

    rows = _rows(
        "write", {"plain files": plain, "store": store}, "plain files", data.nbytes, runs=RUNS,
    )  # fmt: skip
    clean()
    return rows


def huge(folder: Path, videos: int) -> list[measure.Row]:
    """Opening, `info` and `missing_shards` of a store with many videos and four branches."""
    store = _store(folder / "huge", 0)
    store.add_videos(
        {
            "id": [f"generator/{row:07}.mp4" for row in range(videos)],
            "label": np.arange(videos) % 4,
            "source": ["generator"] * videos,
        }
    )
    specs = [
        BranchSpec(name=f"branch{i}", preset="x", fingerprint="0" * 8, arrays=POOLED.arrays)
        for i in range(4)
    ]
    for spec in specs:
        _statuses_only(store.branch("val", spec))
    seconds, peak = _in_new_process(
        "import time; start = time.perf_counter()\n"
        "from features_store import Store\n"
        f"store = Store.open({str(folder / 'huge')!r})\n"
        "info = store.info()\n"
        "for name in store.branches('val'): store.open_branch('val', name).missing_shards()\n"
        f"assert info['videos'] == {videos}\n"
        "print(time.perf_counter() - start)"
    )
    return [
        {
            "what": "open + info + missing_shards, 4 branches",
            "videos": videos,
            "seconds": seconds,
            "peak MB": peak,
        }
    ]


def imports() -> list[measure.Row]:
    """How long the package and the command's help take to start."""
    package, _ = _in_new_process(
        "import time; start = time.perf_counter(); import features_store; "
        "print(time.perf_counter() - start)"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "heads", "--help"], check=True, stdout=subprocess.DEVNULL)
    return [
        {"what": "import features_store", "seconds": package},
        {"what": "telltale --help", "seconds": time.perf_counter() - start},
    ]


def print_peak(path: Path) -> None:
    """In a process of its own: how far streaming raises the peak memory above the idle one."""
    store = Store.open(path)
    idle = _peak_memory()
    for part in store.stream(["tokens/tokens"], batch=TOKEN_BATCH, shuffle=1):
        assert len(part)
    print(_peak_memory() - idle)


def _peak(path: Path) -> int:
    command = [sys.executable, "-m", "benchmarks.bench_store", "--peak-of", str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak_memory() -> int:
    """Bytes; unlike getrusage's, not inherited from the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def _in_new_process(code: str) -> tuple[float, float]:
    code += "\nfrom benchmarks.bench_store import _peak_memory; print(_peak_memory() / 1e6)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


def _rows(
    what: str, work: Mapping[str, measure.Work], baseline: str, size: int, *, runs: int
) -> list[measure.Row]:
    seconds = measure.interleaved(work, runs=runs)
    ratios = measure.against(seconds, baseline)
    return [
        {
            "what": what,
            "way": name,
            "seconds": seconds[name],
            "GB/s": size / seconds[name] / 1e9,
            "speed against " + baseline: ratios[name],
        }
        for name in work
    ]


def _store(path: Path, videos: int) -> Store:
    store = Store.create(path, scheme="hfv4", classes=("appearance", "spatial", "motion", "real"))
    if videos:
        store.add_videos({"id": [f"{row}.mp4" for row in range(videos)]})
    return store


def _filled(path: Path, spec: BranchSpec, videos: int) -> tuple[Store, BranchArrays]:
    store = _store(path, videos)
    branch = store.branch("val", spec)
    for shard in range(branch.shards):
        count = len(branch.rows(shard))
        arrays = {name: _random((count, *array.shape)) for name, array in spec.arrays.items()}
        branch.write_shard(shard, arrays)
    return store, branch


def _random(shape: tuple[int, ...]) -> Array:
    bits = np.random.default_rng(0).integers(0, 2**15, shape, np.uint16)
    return bits.view(np.float16)


def _memmap(path: Path, branch: BranchArrays, name: str, videos: int) -> np.memmap[Any, Any]:
    with path.open("wb") as file:
        for shard in range(branch.shards):
            branch.read_shard(shard).parts[name].tofile(file)
    return np.memmap(path, np.float16, "r", shape=(videos, *branch.spec.arrays[name].shape))


def _again(mapped: np.memmap[Any, Any]) -> Array:
    """The same file mapped anew, as a program that opens it would find it."""
    assert mapped.filename is not None
    return np.memmap(mapped.filename, mapped.dtype, "r", shape=mapped.shape)


def _plain_zarr(branch: BranchArrays, names: list[str]) -> list[object]:
    import zarr

    assert isinstance(branch.place, LocalPlace)
    group: Any = zarr.open_group(branch.place.root / branch.prefix, mode="r")
    return [group[name][:] for name in names]


def _statuses_only(branch: BranchArrays) -> None:
    """Commit records without data: `info` and `missing_shards` read nothing else."""
    for shard in range(branch.shards - 5):
        status = np.zeros(branch.shard_rows, np.uint8)
        status[: len(branch.rows(shard))] = Status.OK
        chunks = {name: frozenset({shard}) for name in branch.spec.arrays}
        records = branch.files.records
        content = records.encode(shard, Record(status=status, chunks=chunks))
        branch.place.put(records.key(shard), [content])


if __name__ == "__main__":
    main()
