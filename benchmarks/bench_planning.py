"""Reading a list of a million videos: by columns and folders, against row by row and file by file.

    python -m benchmarks.bench_planning [--rows 1000000] [--runs 3]

The list names files in 997 folders; the folders are there, the files are not. Each way runs in a
process of its own; memory is what it adds to a process that has loaded the same modules. Both give
the same ids, paths and rows (their hashes are compared). The way before: a record per row, one more
per video, and for each of them the whole path resolved, a `lstat` for every folder in it.
"""

import argparse
import csv
import os
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from benchmarks import measure
from extract.manifest.manifest import Video, read_manifest
from extract.manifest.names import escaped
from extract.running import estimate

FOLDERS = 997


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
        child(arguments.child[0], Path(arguments.child[1]))
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
    return [
        {
            "what": f"{count} rows, {way}", "CPU s": seconds, "MB": megabytes,
            "speed against row by row": base[0] / seconds,
            "spread s": statistics.stdev(one[0] for one in found[way]) if runs > 1 else 0.0,
        }
        for way, (seconds, megabytes) in medians.items()
    ]  # fmt: skip


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
