"""Forged stretches of ten seconds in a long made-up video: how many are found, in how much memory,
from how many decoded pictures.

    python -m benchmarks.bench_segments [--minutes 120] [--planted 12] [--train 400] [--reals 200]

Networks are the `tiny` ones, the head is trained on other made-up clips of the same look, and its
threshold promises 1% false alarms on reals made for that. A stretch is 24 pictures of a made-up
clip, each held for five, 12 a second; real ones come again and again, forged ones are all
different. Says nothing of real videos.
"""

import argparse
import contextlib
import io
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from benchmarks import measure
from extract.decoding import packets
from extract.decoding.containers import Limits
from extract.decoding.cuts import Cutting, segments
from extract.decoding.files import Files
from extract.decoding.job import CLIPS, Job, Look, Plan
from extract.decoding.video import open_video
from extract.decoding.worker import load_makers, work
from extract.manifest.labels import SCHEMES
from extract.synthesis.clip import ClipPlan, render
from heads.bundle import Bundle
from heads.commands.main import main as telltale
from heads.judging.papers import operating_point
from heads.scoring.formats import read_blocks
from heads.scoring.timelines import timelines_of

if TYPE_CHECKING:
    from av.packet import Packet

SECONDS = 10
HELD = 5
PICTURES = 24
RATE = PICTURES * HELD // SECONDS
KINDS = [name for name in SCHEMES["hfv4"].classes if name != "real"]
LOTS = 32
"""Segments that a worker is given together."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=int, default=120)
    parser.add_argument("--planted", type=int, default=12)
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--reals", type=int, default=200)
    parser.add_argument("--peak", nargs=3, metavar=("VIDEO", "BUNDLE", "OUT"))
    arguments = parser.parse_args()
    if arguments.peak:
        peak(*arguments.peak)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure.report("segments", rows(Path(folder), arguments), ("torch", "av", "numpy"))


def rows(folder: Path, arguments: argparse.Namespace) -> list[measure.Row]:
    bundle = trained(folder, arguments.train, arguments.reals)
    count = arguments.minutes * 60 // SECONDS
    random = np.random.default_rng(0)
    places = sorted(random.choice(count, arguments.planted, replace=False).tolist())
    long, short = folder / "long.mp4", folder / "short.mp4"
    reals = [stretch(folder / f"real{seed}.mp4", "real", 10_000 + seed) for seed in range(40)]
    planted = {
        place: stretch(folder / f"forged{n}.mp4", KINDS[n % len(KINDS)], 20_000 + n)
        for n, place in enumerate(places)
    }
    chosen = [planted.get(place, reals[place % len(reals)]) for place in range(count)]
    joined(long, chosen)
    joined(short, chosen[: count // 12])
    peaks = {}
    for name, video in (("long", long), ("short", short)):
        out = folder / f"{name}.parquet"
        said, seconds = measure.alone("benchmarks.bench_segments", "--peak", video, bundle, out)
        peaks[name] = (int(said[-2]), int(said[-1]), seconds)
    found: list[measure.Row] = [
        {
            "what": f"{name}, {length} segments of {SECONDS} s scored", "s": seconds,
            "peak MB": own, "peak MB of a decode worker": worker,
        }
        for (name, (own, worker, seconds)), length in zip(
            peaks.items(), (count, count // 12), strict=True
        )
    ]  # fmt: skip
    found.append(judged(folder / "long.parquet", places, count))
    return [*found, decoded(long), *boundaries(folder, long, count)]


def trained(folder: Path, videos: int, reals: int) -> Path:
    """A bundle with an operating point."""
    data, store, place = folder / "data", folder / "store.zarr", folder / "bundle"
    with contextlib.redirect_stdout(io.StringIO()):
        for command in (
            ["synth", "--out", str(data), "--videos", str(videos), "--seed", "5"],
            ["extract", str(data), "--store", str(store), "--branch", "internvideo2=tiny",
             "--branch", "depthpro=tiny"],
            ["train", "--store", str(store), "--out", str(place), "--validation", "0.3",
             "--folds", "0"],
        ):  # fmt: skip
            assert telltale(command) == 0
        known = folder / "known.mp4"
        joined(known, [stretch(folder / f"k{n}.mp4", "real", 30_000 + n) for n in range(reals)])
        out = folder / "known.parquet"
        assert telltale(["score", str(known), "--bundle", str(place), "--segments",
                         f"windows={SECONDS}s", "--out", str(out)]) == 0  # fmt: skip
    scores = np.concatenate([block["forgery"].to_numpy() for block in read_blocks(out)])
    point = operating_point(scores, 0.01, "made-up reals")
    made = Bundle.load(place)
    replace(made, about=replace(made.about, operating=[point.to_json()])).save(place)
    return place


def stretch(path: Path, label: str, seed: int) -> Path:
    """Ten seconds of one clip, encoded like all others."""
    plan = ClipPlan(
        width=256, height=256, frames=PICTURES, fps=8, tint=(196, 186, 170), grain=2.0,
        label=label, severity=0.9 if label != "real" else 0.0, seed=seed,
    )  # fmt: skip
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "crf": "22", "g": str(PICTURES * HELD)}
        stream = container.add_stream("libx264", rate=Fraction(RATE), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
        stream.thread_count = 1
        for picture in render(plan):
            for _ in range(HELD):
                container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def joined(out: Path, parts: Sequence[Path]) -> None:
    """One file of all, without encoding anything again."""
    with av.open(str(out), "w") as container:
        stream: VideoStream | None = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as source:
                own = source.streams.video[0]
                assert own.time_base is not None
                if stream is None:
                    stream = container.add_stream_from_template(own)
                shift = int(number * SECONDS / own.time_base)
                for packet in source.demux(own):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    container.mux_one(packet)


def peak(video: str, bundle: str, out: str) -> None:
    """Scores a video, and prints this process' peak and its largest child's, in MB."""
    with contextlib.redirect_stdout(io.StringIO()):
        status = telltale(
            ["score", video, "--bundle", bundle, "--segments", f"windows={SECONDS}s", "--out", out,
             "--workers", "1"]
        )  # fmt: skip
    assert status == 0
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    print(*(resource.getrusage(who).ru_maxrss // 1024 for who in whose))


def judged(scores: Path, places: Sequence[int], count: int) -> measure.Row:
    (timeline,) = timelines_of(scores)
    flagged = {n for n, span in enumerate(timeline.spans) if span.generated}
    starts = [span.segment.start for span in timeline.spans]
    assert starts == [SECONDS * n for n in range(count)]
    assert timeline.worst is not None
    assert timeline.first == min(flagged, default=0) * SECONDS
    return {
        "what": "forged segments", "planted": len(places), "found": len(flagged & set(places)),
        "real segments flagged": len(flagged - set(places)), "of": count - len(places),
        "the worst is planted": int(timeline.worst.segment.start) // SECONDS in places,
    }  # fmt: skip


def decoded(video: Path) -> measure.Row:
    """Pictures that are decoded for all segments, against those that the file has."""
    seen: list[int | None] = []
    real = packets._decode

    def counted(context: VideoCodecContext, packet: "Packet[Any] | None") -> list[VideoFrame]:
        if packet is not None:
            seen.append(packet.pts)
        return real(context, packet)

    packets._decode = counted
    plan = Plan(looks=(Look(protocol="val", outputs=(CLIPS,)),))
    files, makers = Files(plan), load_makers(plan)
    slot = memoryview(bytearray(plan.slot_bytes))
    with open_video(video, limits=Limits(max_seconds=1e9)) as opened:
        there = opened.info.frames
        ids = [f"v{s}" for s in segments(Cutting(shots=False, seconds=SECONDS).marks(opened))]
    seen.clear()
    start = time.perf_counter()
    for number, name in enumerate(ids):
        end = (number // LOTS + 1) * LOTS
        job = Job(index=number, id=name, path=str(video), ahead=tuple(ids[number + 1 : end]))
        assert not work(files, makers, job, slot).error
    seconds = time.perf_counter() - start
    files.close()
    packets._decode = real
    return {
        "what": "pictures decoded for all segments", "pictures": there, "decoded": len(seen),
        "more than once": len(seen) - len(set(seen)), "s": seconds,
    }  # fmt: skip


def boundaries(folder: Path, video: Path, count: int) -> Iterator[measure.Row]:
    """Where the shot detector cuts, against where another clip begins."""
    start = time.perf_counter()
    with open_video(video, limits=Limits(max_seconds=1e9), reread=True) as opened:
        marks = Cutting(shots=True, seconds=1e9).marks(opened)
    truth = np.arange(1, count) * SECONDS
    found = np.array(marks[1:-1])
    near = [bool((np.abs(found - t) < 1 / RATE).any()) for t in truth]
    yield {
        "what": "shot boundaries", "there": len(truth), "found": sum(near),
        "elsewhere": len(found) - sum(near), "s": time.perf_counter() - start,
    }  # fmt: skip


if __name__ == "__main__":
    main()
