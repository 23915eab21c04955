"""Reading a list of a million videos: by columns and folders, against row by row and file by file.

    python -m benchmarks.bench_planning [--rows 1000000] [--runs 3]

The list names files in 997 folders; the folders are there, the files are not. Each way runs in a
process of its own; memory is what it adds to a process that has loaded the same modules. Both give
the same ids, paths and rows (their hashes are compared). The way before: a record per row, one more
per video, and for each of them the whole path resolved, a `lstat` for every folder in it.

What comes behind the list: a dry run, whole; and in processes that have read the list, on top of
that: adding its videos to a new store, and again; `telltale score` up to the first part; grouping
near-duplicates, a twentieth of the videos, where neighbouring bits mostly agree, as in pictures,
and where all show one title card before.
"""

import argparse
import contextlib
import csv
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks import measure
from extract.branch import Branch
from extract.manifest.manifest import Video, read_manifest
from extract.manifest.names import escaped
from extract.running import estimate
from extract.running.extraction import open_store
from extract.running.pipeline import Settings
from heads.bundle import Bundle
from heads.scoring.archive import VideoRun, score_videos
from heads.scoring.groups import GROUP, LOOKS, with_groups
from heads.scoring.inputs import read_inputs
from heads.scoring.output import Output
from heads.scoring.scorer import Scorer
from heads.shipped.places import default_bundle

FOLDERS = 997
BEHIND = {
    "dry run": ["`telltale extract --dry-run`, all of it"],
    "add": ["added to a new store", "added again"],
    "score": ["scored, up to the first part"],
    "pictures": ["grouped, pictures of all kinds"],
    "title": ["grouped, one title card before all"],
}
"""Way → its steps."""
KIB = 1024
_BLOCK = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row of text."""

    where: str
    folder: str
    file: str
    label: str = ""
    rank: str = ""
    split: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", nargs=2, metavar=("WAY", "LIST"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, listing = arguments.child[0], Path(arguments.child[1])
        behind(way, listing) if way in BEHIND else child(way, listing)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = planning(Path(folder), arguments.rows, arguments.runs)
    measure.report("planning", rows)


def planning(folder: Path, count: int, runs: int) -> list[measure.Row]:
    """The ways in turns."""
    for number in range(FOLDERS):
        (folder / f"folder{number}").mkdir()
    listing = folder / "list.csv"
    with listing.open("w") as file:
        file.write("path\n")
        file.writelines(f"folder{number % FOLDERS}/{number}.mp4\n" for number in range(count))
    found: dict[str, list[tuple[float, float]]] = {"row by row": [], "columns": []}
    hashes = set()
    for _ in range(runs):
        for way, figures in found.items():
            (seconds, megabytes, content), _ = measure.alone(
                "benchmarks.bench_planning", "--child", way, listing
            )
            figures.append((float(seconds), float(megabytes)))
            hashes.add(content)
    if len(hashes) != 1:
        raise RuntimeError("The two ways do not plan the same.")
    medians = {way: np.median(np.array(one), axis=0) for way, one in found.items()}
    base = medians["row by row"]
    rows: list[measure.Row] = [
        {
            "what": f"{count} rows, {way}", "CPU s": seconds, "MB": megabytes,
            "speed against row by row": base[0] / seconds,
            "spread s": statistics.stdev(one[0] for one in found[way]) if runs > 1 else 0.0,
        }
        for way, (seconds, megabytes) in medians.items()
    ]  # fmt: skip
    for way, steps in BEHIND.items():
        said = [
            measure.alone("benchmarks.bench_planning", "--child", way, listing)[0]
            for _ in range(runs)
        ]
        each = np.array(said, float).reshape(runs, len(steps), 2).transpose(1, 2, 0)
        rows += [
            {
                "what": f"{count} rows, {step}", "CPU s": float(np.median(seconds)),
                "MB": float(np.median(megabytes)),
                "spread s": statistics.stdev(seconds.tolist()) if runs > 1 else 0.0,
            }
            for step, (seconds, megabytes) in zip(steps, each, strict=True)
        ]  # fmt: skip
    return rows


def behind(way: str, listing: Path) -> None:
    """Prints CPU seconds, and megabytes that came on top, of each step."""
    if way == "dry run":
        dry_run(listing)
    elif way == "score":
        manifest = read_inputs([str(listing)], None, None)
        scorer = Scorer(bundle=Bundle.load(default_bundle()))
        videos = VideoRun(
            manifest=manifest, branches=_begun, settings=Settings(protocol="val"), run=bool
        )
        with tempfile.TemporaryDirectory() as folder, _measured():
            score_videos(scorer, videos, Output(Path(folder) / "s.parquet", {}))
    elif way == "add":
        manifest = read_manifest(listing)
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(folder, manifest)
            for _ in BEHIND[way]:
                with _measured():
                    store.add_videos(manifest.columns(), keep_existing=True)
    else:
        found = looks(sum(1 for _ in listing.open()) - 1, title=way == "title")
        blocks = [_block(found, start) for start in range(0, len(found), _BLOCK)]
        with _measured():
            for _ in with_groups(lambda: iter(blocks)):
                pass


def dry_run(listing: Path) -> None:
    """The whole command, of a process that is small: a large one's children count as large."""
    run = f"""
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / {KIB})
"""
    command = ["extract", listing, "--store", listing.with_name("none"), "--dry-run"]
    branch = ["--branch", "internvideo2=tiny"]
    given = [sys.executable, "-m", "heads", *map(str, command), *branch]
    subprocess.run([sys.executable, "-c", run, *given], check=True)


def looks(count: int, *, title: bool) -> NDArray[np.int64]:
    """Hashes of frames, four a video, whose last twentieth are copies of others."""
    random, copies = np.random.default_rng(0), count // 20

    def bits(rows: int, changes: float) -> NDArray[np.bool_]:
        return random.random((rows, 4, 64)) < changes

    def numbers(found: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.packbits(found, axis=-1).view(">i8")[..., 0].astype(np.int64)

    parts = range(0, count - copies, _BLOCK)
    made = np.concatenate([
        numbers(np.logical_xor.accumulate(bits(min(_BLOCK, count - copies - start), 0.12), axis=2))
        for start in parts
    ])  # fmt: skip
    again = made[random.integers(0, len(made), copies)] ^ numbers(bits(copies, 0.03))
    found = np.concatenate([made, again])
    if title:
        found[:, 0] = 0x0123456789ABCDEF
    return found


def _block(found: NDArray[np.int64], start: int) -> pa.Table:
    some = found[start : start + _BLOCK]
    ids = [f"{number}.mp4" for number in range(start, start + len(some))]
    texts = [row.astype(">i8").tobytes().hex() for row in some]
    return pa.table({"id": ids, GROUP: pa.nulls(len(some), pa.string()), LOOKS: texts})


class _Begun(Exception):
    """The first part is begun: planning is over."""


def _begun() -> list[Branch]:
    raise _Begun


@contextlib.contextmanager
def _measured() -> Iterator[None]:
    before, start = _peak(), time.process_time()
    with contextlib.suppress(_Begun):
        yield
    print(time.process_time() - start, _peak() - before)


def child(way: str, listing: Path) -> None:
    """Prints CPU seconds, megabytes that came on top, and a hash of what was planned."""
    before, start = _peak(), time.process_time()
    if way == "columns":
        manifest = read_manifest(listing)
        table = manifest.table
        rows, _ = estimate.rows_of(None, manifest)
        pairs = zip(table.ids, table.paths(), strict=True)
    else:
        videos = row_by_row(listing)
        known: dict[str, int] = {}
        rows = np.array([known.get(v.id, place) for place, v in enumerate(videos)])
        pairs = zip(*zip(*((v.id, v.path) for v in videos), strict=True), strict=True)
    seconds, megabytes = time.process_time() - start, _peak() - before
    content = blake2b(rows.astype(np.int64).tobytes(), digest_size=8)
    for pair in pairs:
        content.update("\0".join(pair).encode())
    print(seconds, megabytes, content.hexdigest())


def row_by_row(listing: Path) -> list[Video]:
    """As it was before: every row and every file by itself."""
    root = os.fspath(listing.parent)
    resolved_root = os.path.realpath(root)
    with listing.open() as file:
        lines = [(number, cells) for number, cells in enumerate(csv.reader(file), start=1)]
    header = lines[0][1]
    records = []
    for number, cells in lines[1:]:
        named = dict(zip(header, cells, strict=True))
        where = f"{listing.name}:{number}"
        records.append(Record(where=where, folder=root, file=named["path"]))
    seen: dict[str, Video] = {}
    for record in records:
        path = os.path.normpath(os.path.join(record.folder, record.file))  # noqa: PTH118
        os.path.lexists(path)
        relative = os.path.relpath(path, root)
        resolved = os.path.realpath(path)
        if os.path.commonpath([resolved, resolved_root]) != resolved_root:
            raise RuntimeError(f"{path} leaves the root")
        video = Video(id=escaped(relative), path=path)
        if seen.setdefault(video.id, video) is not video:
            raise RuntimeError(f"{video.id} is given twice")
    return list(seen.values())


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB


if __name__ == "__main__":
    main()
