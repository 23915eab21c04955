"""From mp4 files to a store on a GPU, with so many decode workers; a part of `benchmarks.gpu`.

720p clips of five seconds are made once and go under many names. Both full-size networks look at
a view of each, compiled from the start, or eager.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks import measure
from benchmarks.bench_decode import make_clips
from extract.branch import Branch
from extract.manifest.manifest import read_manifest
from extract.processes import cores
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.running.summary import Summary

WAYS = ("never", "always")
"""Of `TELLTALE_COMPILE`."""


def rows(
    branches: Sequence[Branch], *, clips: int, videos: int, workers: Sequence[int]
) -> Iterator[measure.Row]:
    """Eager with all workers, then compiled with each number of them."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        made = _clips(place, clips)
        measure.many_names(made, place / "many", videos)
        measure.many_names(made, place / "few", min(videos, 64))
        most = max(workers)
        for way, count in [("never", most), *(("always", count) for count in workers)]:
            os.environ["TELLTALE_COMPILE"] = way
            try:
                _run(place, "few", branches, most)  # libraries and compilers, before the clock
                start = time.perf_counter()
                summary = _run(place, "many", branches, count)
                taken = time.perf_counter() - start
            finally:
                del os.environ["TELLTALE_COMPILE"]
            yield {
                "what": f"mp4 to store, {count} workers, compiled: {way}",
                "videos": summary.ok, "videos/s": summary.ok / taken, "device idle": summary.idle,
                "cores": cores(),
            }  # fmt: skip


def _clips(place: Path, count: int) -> list[Path]:
    """On all cores: rendering takes longer than what is measured."""
    folders = [place / f"clip{number}" for number in range(count)]
    for folder in folders:
        folder.mkdir()
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        return list(processes.map(_clip, folders, range(count)))


def _clip(folder: Path, number: int) -> Path:
    return make_clips(folder, 1, first=number)[0]


def _run(place: Path, name: str, branches: Sequence[Branch], workers: int) -> Summary:
    manifest = read_manifest(str(place / name))
    with tempfile.TemporaryDirectory(dir=place) as folder:
        settings = Settings(protocol="val")
        extraction = Extraction.begin(manifest, Path(folder) / "s", branches, settings)
        return extraction.run(workers=workers, bar=False)
