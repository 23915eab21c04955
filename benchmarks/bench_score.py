"""Scoring an archive: rows a second from a store against reading its arrays, and from videos
against extraction alone.

    python -m benchmarks.bench_score [--rows 200000] [--clips 48] [--runs 3]

The store has one view per video (pooled vectors of L14 and Depth Pro, 9.7 kB a video) and is
written here; --rows 1000000 needs 10 GB of disk. Scoring ends with a Parquet file.
"""

import argparse
import resource
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import measure
from benchmarks.bench_heads import CLASSES, shapes, table, write_store
from extract.branch import BranchRequest, load_branch
from extract.manifest.manifest import read_manifest
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from features_store import Store
from heads.bundle import Bundle
from heads.data.splits import Choice
from heads.fitting.seeds import best_bundle, train_seeds
from heads.parts.about import About
from heads.scoring.archive import VideoRun, score_store, score_videos
from heads.scoring.output import Output
from heads.scoring.scorer import Scorer
from heads.zoo.fusion import Fusion, FusionConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = from_store(Path(folder), arguments.rows, arguments.runs)
        rows += from_videos(Path(folder), arguments.clips, arguments.runs)
    measure.report("score", rows, ("torch", "numpy", "pyarrow"))


def from_store(folder: Path, count: int, runs: int) -> list[measure.Row]:
    store = write_store(folder / "s", count)
    found = table(64, 0)
    small = replace(found, arrays={key: array[:, :1] for key, array in found.arrays.items()})
    head = Fusion(FusionConfig(epochs=1, select="loss"), CLASSES)
    head.fit(small, small)
    about = About(
        head="fusion", config={}, scheme="hfv4", classes=CLASSES, protocol="val",
        fingerprints=dict.fromkeys(head.keys, "0" * 64), branches={},
    )  # fmt: skip
    scorer = Scorer(bundle=Bundle(head, about))

    def read() -> None:
        for _ in store.stream(tuple(shapes()), protocol="val", batch=8192):
            pass

    def score() -> None:
        (folder / "out.parquet").unlink(missing_ok=True)
        score_store(scorer, store, "val", Output(folder / "out.parquet", {}))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = measure.interleaved({"read": read, "score": score}, runs=runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    shutil.rmtree(folder / "s")
    return [
        {
            "what": f"{name}, {count} videos of a store", "s": value, "videos/s": count / value,
            "of reading": seconds["read"] / value, "memory grew by MB": peak - before,
        }
        for name, value in seconds.items()
    ]  # fmt: skip


def from_videos(folder: Path, clips: int, runs: int) -> list[measure.Row]:
    for _ in write_data_set(
        folder / "data", SyntheticOptions(videos=clips, seed=0, difficulty=0.3)
    ):
        pass
    manifest = read_manifest(str(folder / "data"))
    requests = [BranchRequest.parse(f"{name}=tiny") for name in ("internvideo2", "depthpro")]
    branches = [load_branch(request) for request in requests]
    settings = Settings(protocol="val")

    def extract() -> None:
        shutil.rmtree(folder / "t", ignore_errors=True)
        Extraction.begin(manifest, folder / "t", branches, settings).run(workers=2, bar=False)

    extract()
    store = Store.open(folder / "t")
    data = Choice(validation=0.3).load(store, Fusion(FusionConfig(), store.classes))
    trained = train_seeds(lambda: Fusion(FusionConfig(epochs=2), store.classes), data, [0])
    scorer = Scorer(bundle=best_bundle(store, trained, data))

    def score() -> None:
        (folder / "v.parquet").unlink(missing_ok=True)
        output = Output(folder / "v.parquet", {})

        def run(extraction: Extraction) -> bool:
            return not extraction.run(workers=2, bar=False).stopped

        videos = VideoRun(manifest=manifest, branches=lambda: branches, settings=settings, run=run)
        score_videos(scorer, videos, output)

    seconds = measure.interleaved({"extraction alone": extract, "scoring": score}, runs=runs)
    return [
        {"what": f"from videos: {name}", "videos/s": clips / value,
         "of extraction": seconds["extraction alone"] / value}
        for name, value in seconds.items()
    ]  # fmt: skip


if __name__ == "__main__":
    main()
