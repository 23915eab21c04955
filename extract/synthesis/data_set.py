"""A small labelled data set, made up: for tests, the demo, and trying the whole chain.

Writes the HFV layout (train_data/*, eval_data/*, header-less lists with ranks, in scheme hfv4 and
hfv2) beside a `labels.json` that names hfv4. Four "generators" differ in codec, size, rate and
palette; each has real clips of its own, encoded alike, so that a codec gives nothing away, and
one is kept for testing only. The same arguments write the same files with the same libraries.

Numbers measured on this set say that the chain works, nothing about real forgeries.
"""

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from extract.errors import BadSetting
from extract.manifest.labels import SCHEMES
from extract.manifest.ranks import rank_scores
from extract.manifest.sources import SIDECAR
from extract.synthesis.clip import ClipPlan, render
from extract.synthesis.person import Colour

CLASSES = SCHEMES["hfv4"].classes
REAL = CLASSES.index("real")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """A stand-in for a video model: what its files have in common."""

    name: str
    width: int
    height: int
    fps: int
    frames: int
    codec: str
    options: tuple[tuple[str, str], ...]
    tint: Colour
    grain: float
    test_only: bool = False


GENERATORS = (
    Generator(
        name="aurora",
        width=256,
        height=256,
        fps=8,
        frames=24,
        codec="libx264",
        options=(("crf", "20"), ("preset", "veryfast")),
        tint=(196, 186, 170),
        grain=2.0,
    ),
    Generator(
        name="basalt",
        width=320,
        height=192,
        fps=12,
        frames=28,
        codec="mpeg4",
        options=(("q", "4"),),
        tint=(150, 172, 190),
        grain=3.5,
    ),
    Generator(
        name="cobalt",
        width=192,
        height=288,
        fps=16,
        frames=32,
        codec="libx264",
        options=(("crf", "29"), ("preset", "superfast"), ("g", "250")),
        tint=(178, 194, 160),
        grain=1.0,
    ),
    Generator(
        name="dahlia",
        width=288,
        height=224,
        fps=10,
        frames=20,
        codec="libx264",
        options=(("crf", "25"), ("preset", "ultrafast"), ("g", "12")),
        tint=(206, 176, 176),
        grain=5.0,
        test_only=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticOptions:
    """What a made-up data set is like."""

    videos: int
    seed: int = 0
    difficulty: float = 0.3
    """0: anomalies are as obvious as they get; 1: they can hardly be seen."""
    threads: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.videos <= 1_000_000:
            raise BadSetting(f"{self.videos} videos: give 1 to 1,000,000.")
        if not 0 <= self.difficulty <= 1:
            raise BadSetting(f"difficulty {self.difficulty}: give 0 to 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticVideo:
    """One clip of a data set that is to be written."""

    file: str
    folder: str
    generator: Generator
    label: int
    rank: float
    split: str
    clip: ClipPlan


def plan_data_set(options: SyntheticOptions) -> list[SyntheticVideo]:
    """Every clip, decided by its own seed: a longer set begins as the shorter one does."""
    rows = [_draw(options, number) for number in range(options.videos)]
    severities = [clip.severity for _, _, clip in rows]
    labels = [CLASSES.index(clip.label) for _, _, clip in rows]
    ranks = rank_scores(severities, labels, obvious="high")
    return [
        SyntheticVideo(
            file=f"{generator.name}_{number:05d}.mp4",
            folder=f"{'eval_data' if split == 'test' else 'train_data'}/{generator.name}",
            generator=generator,
            label=label,
            rank=round(rank, 6),
            split=split,
            clip=clip,
        )
        for number, ((generator, split, clip), label, rank) in enumerate(
            zip(rows, labels, ranks, strict=True)
        )
    ]


def _draw(options: SyntheticOptions, number: int) -> tuple[Generator, str, ClipPlan]:
    digest = hashlib.sha256(f"{options.seed}/{number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest))
    label = CLASSES[number % len(CLASSES)]
    generator = GENERATORS[number // len(CLASSES) % len(GENERATORS)]
    place = rng.random()
    split = "train" if place < 0.72 else "val" if place < 0.86 else "test"
    ease = 1 - 0.85 * options.difficulty
    clip = ClipPlan(
        width=generator.width,
        height=generator.height,
        frames=generator.frames,
        fps=generator.fps,
        tint=generator.tint,
        grain=generator.grain,
        label=label,
        severity=round(float(ease * rng.uniform(0.45, 1.0)), 4),
        seed=int.from_bytes(digest[:8]),
    )
    return generator, "test" if generator.test_only else split, clip


def write_data_set(out: Path, options: SyntheticOptions) -> Iterator[Path]:
    """Render and encode everything; each path comes when it is written. Lists come last."""
    if out.exists() and any(out.iterdir()):
        raise BadSetting(f"{out} is not empty; give a new folder.")
    videos = plan_data_set(options)
    for folder in sorted({video.folder for video in videos}):
        (out / folder).mkdir(parents=True)
    with ThreadPoolExecutor(options.threads) as pool:
        yield from pool.map(lambda video: _write(out, video), videos)
    _write_lists(out, videos)


def _write(out: Path, video: SyntheticVideo) -> Path:
    path = out / video.folder / video.file
    encode(path, render(video.clip), video.generator)
    return path


def encode(path: Path, clip_thwc: NDArray[np.uint8], generator: Generator) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            generator.codec, rate=Fraction(generator.fps), options=dict(generator.options)
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = generator.width, generator.height
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for frame_hwc in clip_thwc:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_hwc, format="rgb24")))
        container.mux(stream.encode(None))


def _write_lists(out: Path, videos: Sequence[SyntheticVideo]) -> None:
    lists: dict[str, list[tuple[str, int, float]]] = {}
    for video in videos:
        forged = SCHEMES["hfv2"].classes.index("real" if video.label == REAL else "forgery")
        for suffix, label in (("4", video.label), ("2", forged)):
            name = f"{video.folder}/{video.split}_{suffix}.csv"
            lists.setdefault(name, []).append((video.file, label, video.rank))
    for name, rows in sorted(lists.items()):
        with (out / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    (out / SIDECAR).write_text(json.dumps({"scheme": "hfv4"}) + "\n", encoding="utf-8")
