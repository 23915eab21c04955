"""What the pipeline adds to decoding and to the networks, and what it gains over the released way.

    python -m benchmarks.bench_extract [--clips 32] [--runs 3] [--memory] [--released]

- decode-bound: the `tiny` branches against a bare `DecodePool` of as many workers (videos/s);
- device-bound: InternVideo2 S14 against the same batches with no decoding (seconds);
- `--memory`: peak memory of the main process for 200 and for 2,000 videos;
- `--released`: `test-4x3` with full-size seeded networks against the released way: each view
  decoded anew, one video at a time, Depth Pro in 36 passes. Takes a quarter of an hour.
"""

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import measure
from benchmarks.bench_branches import thirty_six_passes
from benchmarks.bench_decode import make_clips
from benchmarks.bench_decode import released as decode_each_view
from benchmarks.gpu import depth_branch, video_branch
from extract.branch import Branch, BranchRequest, load_branch
from extract.decoding.job import Job, Look, Plan
from extract.decoding.pool import DecodePool
from extract.manifest.manifest import Manifest, read_manifest
from extract.running.batching import Batcher
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.synthesis.data_set import SyntheticOptions, write_data_set

WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--released", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("DATA", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*map(Path, arguments.child))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = [
            *decode_bound(place, arguments.clips, arguments.runs),
            *device_bound(place, arguments.runs),
        ]
        if arguments.memory:
            rows += memory(place)
        if arguments.released:
            rows += released(place)
    measure.report("extract", rows, ("torch", "av", "numpy"))


def tiny() -> list[Branch]:
    return [
        load_branch(BranchRequest.parse(f"{name}=tiny")) for name in ("internvideo2", "depthpro")
    ]


def decode_bound(folder: Path, clips: int, runs: int) -> list[measure.Row]:
    """720p clips, val views: decoding is nearly all there is."""
    (folder / "clips").mkdir()
    make_clips(folder / "clips", clips)
    manifest = read_manifest(str(folder / "clips"))
    branches = tiny()

    def pipeline() -> None:
        store = folder / "s"
        shutil.rmtree(store, ignore_errors=True)
        Extraction.begin(manifest, store, branches, Settings(protocol="val")).run(
            workers=WORKERS, bar=False
        )

    seconds = measure.interleaved(
        {
            "bare decode": lambda: decode(manifest, ()),
            "decode and prepare": lambda: decode(manifest, branches),
            "pipeline": pipeline,
        },
        runs=runs,
    )
    ratios = measure.against(seconds, "bare decode")
    return [
        {"what": f"decode-bound: {name}", "videos/s": clips / value, "of bare decode": ratios[name]}
        for name, value in seconds.items()
    ]


def decode(manifest: Manifest, branches: Sequence[Branch]) -> None:
    """`DecodePool` alone: bare frames, or with what the branches need."""
    outputs = tuple({branch.prepare.name: branch.prepare for branch in branches}.values())
    plan = Plan(looks=(Look(protocol="val", outputs=outputs),), root=str(manifest.root))
    jobs = [Job(index=i, id=video.id, path=video.path) for i, video in enumerate(manifest.videos)]
    with DecodePool(plan, workers=WORKERS) as pool:
        for _ in pool.run(jobs):
            pass


def device_bound(folder: Path, runs: int) -> list[measure.Row]:
    """Small clips and a network that takes a second a view: the pipeline must not be in its way."""
    data = folder / "small"
    for _ in write_data_set(data, SyntheticOptions(videos=8, seed=0, difficulty=0.3)):
        pass
    manifest = read_manifest(str(data))
    branch = seeded("S14")
    views = branch.example(8)

    def pipeline() -> None:
        store = folder / "t"
        shutil.rmtree(store, ignore_errors=True)
        Extraction.begin(manifest, store, [branch], Settings(protocol="val")).run(
            workers=1, bar=False
        )

    seconds = measure.interleaved(
        {"branch alone": lambda: Batcher(branch).run(views), "pipeline": pipeline}, runs=runs
    )
    return [
        {
            "what": f"device-bound (S14): {name}",
            "s": value,
            "overhead": value / seconds["branch alone"] - 1,
        }
        for name, value in seconds.items()
    ]


def seeded(preset: str) -> Branch:
    return video_branch(preset, torch.device("cpu"))


def child(data: Path, store: Path) -> None:
    """In a process of its own, so that its peak is its own."""
    extraction = Extraction.begin(read_manifest(str(data)), store, tiny(), Settings(protocol="val"))
    summary = extraction.run(workers=WORKERS, bar=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(summary.done, peak, extraction.memory(WORKERS) // 2**20)


def memory(folder: Path) -> list[measure.Row]:
    """The same clips under many names."""
    clips = sorted((folder / "small").rglob("*.mp4"))
    rows: list[measure.Row] = []
    for count in (200, 2000):
        data = folder / f"many{count}"
        measure.many_names(clips, data, count)
        said, seconds = measure.alone(
            "benchmarks.bench_extract", "--child", data, folder / f"m{count}"
        )
        rows.append(
            {
                "what": f"memory: {said[0]} videos", "peak MB": int(said[1]),
                "announced MB beside the networks": int(said[2]), "s": seconds,
            }
        )  # fmt: skip
    return rows


def released(folder: Path) -> list[measure.Row]:
    """One 720p video with L14 and Depth Pro at full size, both seeded.

    The released way runs both networks on every view by itself, so one view is measured and
    counted 12 times; its decoding and all of ours are measured whole.
    """
    clip = sorted((folder / "clips").glob("*.mp4"))[0]
    data = folder / "one"
    data.mkdir()
    (data / "clip.mp4").hardlink_to(clip)
    manifest = read_manifest(str(data))
    video, depth = seeded("L14"), depth_branch("L16", torch.device("cpu"))
    start = time.perf_counter()
    Extraction.begin(manifest, folder / "u", [video, depth], Settings(protocol="test-4x3")).run(
        workers=1, bar=False
    )
    ours = time.perf_counter() - start
    start = time.perf_counter()
    decode_each_view(str(clip), "test-4x3")
    decoding = time.perf_counter() - start
    start = time.perf_counter()
    with torch.inference_mode():
        video.compute(video.example(1))
        pixels = torch.rand(1, 3, 1536, 1536) * 2 - 1
        for _ in range(2):
            thirty_six_passes(depth.model, pixels)
    theirs = decoding + 12 * (time.perf_counter() - start)
    return [
        {
            "what": "test-4x3, L14 and Depth Pro, s a video",
            "ours": ours,
            "released (1 view x 12)": theirs,
            "ratio": theirs / ours,
        }
    ]


if __name__ == "__main__":
    main()
