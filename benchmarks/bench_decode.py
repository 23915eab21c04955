"""Videos per second from file to clips, against the released way and against bare decoding.

    python -m benchmarks.bench_decode [--clips 8] [--repeat 5] [--out benchmarks/results]

`released`: open and decode with decord once per view, all 32 frames each time for a test view,
every frame resized, as the released loader does (without its depth images). `bare`: our decode
of the same frames with no transforms. Clips are made here: 1280x720, 121 frames, H.264, half of
them with a keyframe every 12 frames, half with the encoder's default of 250. Rounds of all ways
are interleaved; figures are medians; ratios are medians of the rounds' ratios.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from extract.decoding.job import CLIPS, DEPTH, Job, Look, Output, Plan
from extract.decoding.pool import DecodePool
from extract.synthesis.clip import ClipPlan, render
from extract.synthesis.data_set import Generator, encode
from extract.views.protocol import Protocol
from extract.views.transforms import resize_short_side, take_crop

PROTOCOLS = ("val", "test-4x3")
SIZE = (1280, 720)
FRAMES = 121


def make_clips(folder: Path, count: int, first: int = 0) -> list[Path]:
    paths = []
    for number in range(first, first + count):
        plan = ClipPlan(
            width=SIZE[0], height=SIZE[1], frames=FRAMES, fps=24, tint=(180, 180, 170), grain=3,
            label="real", severity=1.0, seed=number,
        )  # fmt: skip
        gop = "12" if number % 2 else "250"
        generator = Generator(
            name="bench", width=SIZE[0], height=SIZE[1], fps=24, frames=FRAMES, codec="libx264",
            quality=20, options=(("preset", "medium"), ("g", gop)), tint=plan.tint, grain=3,
        )  # fmt: skip
        paths.append(folder / f"{number}.mp4")
        encode(paths[-1], render(plan), generator)
    return paths


def released(path: str, name: str) -> float:
    """One video the released way; a sum, so that nothing is optimised away."""
    import decord

    cv2.setNumThreads(1)
    views = Protocol.parse(name).views("v", FRAMES)
    every = sorted(frame for view in views if view.index % 3 == 0 for frame in view.frames)
    total = 0.0
    for view in views:
        reader = decord.VideoReader(path, num_threads=1)
        frames = reader.get_batch(every).asnumpy()
        resized = np.stack([resize_short_side(frame, view.size) for frame in frames])
        chunk = resized[view.index // 3 :: max(1, len(every) // 8)]
        clip = np.stack([take_crop(frame, view.crop, view.size) for frame in chunk])
        total += float(clip[0, 0, 0, 0])
    return total


def released_way(paths: Sequence[Path], name: str, cores: int, pool: ProcessPoolExecutor) -> float:
    start = time.perf_counter()
    if cores == 1:
        for path in paths:
            pool.submit(released, str(path), name).result()
    else:
        list(pool.map(released, map(str, paths), [name] * len(paths)))
    return len(paths) / (time.perf_counter() - start)


def our_way(pool: DecodePool, paths: Sequence[Path]) -> float:
    start = time.perf_counter()
    jobs = (Job(index=number, id=path.name, path=str(path)) for number, path in enumerate(paths))
    for outcome in pool.run(jobs):
        if outcome.failure:
            raise outcome.failure
    return len(paths) / (time.perf_counter() - start)


def measure(paths: Sequence[Path], name: str, cores: int, repeat: int) -> dict[str, float]:
    outputs: dict[str, tuple[Output, ...]] = {
        "bare": (),
        "clips": (CLIPS,),
        "clips+depth": (CLIPS, DEPTH),
    }
    pools = {
        way: DecodePool(Plan(looks=(Look(protocol=name, outputs=made),)), workers=cores)
        for way, made in outputs.items()
    }
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as processes:
        ways: dict[str, Callable[[], float]] = {
            way: lambda pool=pool: our_way(pool, paths)  # type: ignore[misc]
            for way, pool in pools.items()
        }
        ways["released"] = lambda: released_way(paths, name, cores, processes)
        for way in ways.values():
            way()
        rounds = [{way: run() for way, run in ways.items()} for _ in range(repeat)]
    for pool in pools.values():
        pool.close()
    found = {way: statistics.median(times[way] for times in rounds) for way in ways}
    found["clips_vs_released"] = _ratio(rounds, "clips", "released")
    found["bare_vs_clips"] = _ratio(rounds, "bare", "clips")
    found["bare_vs_clips+depth"] = _ratio(rounds, "bare", "clips+depth")
    return {key: round(value, 3) for key, value in found.items()}


def _ratio(rounds: Sequence[dict[str, float]], a: str, b: str) -> float:
    return statistics.median(times[a] / times[b] for times in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "benchmark": "decode",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, 2 cores, shared",
        "versions": {"av": av.__version__, "cv2": cv2.__version__},
        "clips": f"{arguments.clips} x {SIZE[0]}x{SIZE[1]}, {FRAMES} frames",
        "repeat": arguments.repeat,
        "unit": "videos/s",
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = make_clips(Path(folder), arguments.clips)
        for name in PROTOCOLS:
            for cores in (1, 2):
                found = measure(paths, name, cores, arguments.repeat)
                result[f"{name}/{cores} core{'s' if cores > 1 else ''}"] = found
                print(name, cores, found, flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"decode_cpu2_{result['date']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
