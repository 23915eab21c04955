"""A small labelled data set, made up: for tests, the demo, and trying the whole chain.

Writes the HFV layout (train_data/*, eval_data/*, header-less lists with ranks, in scheme hfv4 and
hfv2) beside a `labels.json` that names hfv4. Four "generators" differ in codec, size, rate and
palette; one is kept for testing only. Every four clips in a row are one of each class, of one
generator, split and action, so that none of these tells a class; the rest is drawn from each
clip's own seed, quality of encoding too. The same arguments write the same files with the same
libraries.

Numbers measured on this set say that the chain works, nothing about real forgeries.
"""

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import get_args

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from extract.errors import BadSetting
from extract.manifest.labels import SCHEMES
from extract.manifest.ranks import rank_scores
from extract.manifest.sources import SIDECAR
from extract.synthesis.clip import ClipPlan, Shot, render
from extract.synthesis.pose import ACTIONS
from extract.synthesis.shapes import Colour
from features_store.outputs import Folder

_SPLITS = ("train", "val", "train", "train", "test", "train", "train")
"""In turn, of a generator's fours; no multiple of the actions, so that each split has them all."""
_QUALITIES = 5
"""How far a clip's quality may be from its generator's."""
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
    quality: int
    """The constant rate factor of libx264, the quantiser of mpeg4."""
    options: tuple[tuple[str, str], ...]
    tint: Colour
    grain: float
    test_only: bool = False

    def encoding(self, quality: int) -> dict[str, str]:
        """The encoder's options."""
        if self.codec == "mpeg4":
            return {**dict(self.options), "qmin": str(quality), "qmax": str(quality)}
        return {**dict(self.options), "crf": str(quality)}


GENERATORS = (
    Generator(
        name="aurora",
        width=256,
        height=256,
        fps=8,
        frames=24,
        codec="libx264",
        quality=22,
        options=(("preset", "veryfast"), ("x264-params", "mbtree=0")),
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
        quality=7,
        options=(),
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
        quality=27,
        options=(("preset", "superfast"), ("g", "250")),
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
        quality=25,
        options=(("preset", "ultrafast"), ("g", "12")),
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
    shot: Shot = "full"
    """The whole person, or a close-up with hands and face large."""
    threads: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.videos <= 1_000_000:
            raise BadSetting(f"{self.videos} videos: give 1 to 1,000,000.")
        if not 0 <= self.difficulty <= 1:
            raise BadSetting(f"difficulty {self.difficulty}: give 0 to 1.")
        if self.shot not in get_args(Shot):
            raise BadSetting(f"shot {self.shot!r} unknown; have: {', '.join(get_args(Shot))}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticVideo:
    """One clip of a data set that is to be written."""

    file: str
    folder: str
    generator: Generator
    label: int
    rank: float
    split: str
    quality: int
    """What the encoder is told: smaller is better and larger."""
    clip: ClipPlan


def plan_data_set(options: SyntheticOptions) -> list[SyntheticVideo]:
    """Every clip, decided by its own seed: a longer set begins as the shorter one does."""
    rows = [_draw(options, number) for number in range(options.videos)]
    severities = [row.clip.severity for row in rows]
    ranks = rank_scores(severities, [row.label for row in rows], obvious="high")
    return [replace(row, rank=round(rank, 6)) for row, rank in zip(rows, ranks, strict=True)]


def _draw(options: SyntheticOptions, number: int) -> SyntheticVideo:
    """A clip but for its rank, which depends on the others."""
    four, place = divmod(number, len(CLASSES))
    turn, which = divmod(four, len(GENERATORS))
    generator = GENERATORS[which]
    split = _SPLITS[(turn + 3 * which + options.seed) % len(_SPLITS)]
    if generator.test_only:
        split = "test"
    order = np.random.default_rng(_seed(options.seed, "four", four)).permutation(len(CLASSES))
    label = int(order[place])
    seed = _seed(options.seed, "clip", number)
    rng = np.random.default_rng(seed)
    ease = 1 - 0.85 * options.difficulty
    return SyntheticVideo(
        file=f"{generator.name}_{number:05d}.mp4",
        folder=f"{'eval_data' if split == 'test' else 'train_data'}/{generator.name}",
        generator=generator,
        label=label,
        rank=0.0,
        split=split,
        quality=generator.quality + int(rng.integers(-_QUALITIES, _QUALITIES + 1)),
        clip=ClipPlan(
            width=generator.width,
            height=generator.height,
            frames=generator.frames,
            fps=generator.fps,
            tint=generator.tint,
            grain=generator.grain,
            label=CLASSES[label],
            severity=round(float(ease * rng.uniform(0.45, 1.0)), 4),
            seed=seed,
            action=list(ACTIONS)[turn % len(ACTIONS)],
            shot=options.shot,
        ),
    )


def _seed(*parts: object) -> int:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8])


def write_data_set(
    out: Path, options: SyntheticOptions, *, overwrite: bool = False
) -> Iterator[Path]:
    """Render and encode everything; each path comes when it is written. Lists come last.

    A set that is there already, made with the same options, yields nothing.
    """
    made = Folder(out, "synth", overwrite=overwrite)
    decides = {name: value for name, value in asdict(options).items() if name != "threads"}
    if made.begin(decides):
        return
    videos = plan_data_set(options)
    for folder in sorted({video.folder for video in videos}):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.threads) as pool:
        yield from pool.map(lambda video: _write(out, video), videos)
    _write_lists(out, videos)
    made.finish()


def _write(out: Path, video: SyntheticVideo) -> Path:
    path = out / video.folder / video.file
    encode(path, render(video.clip), video.generator, video.quality)
    return path


def encode(
    path: Path, clip_thwc: NDArray[np.uint8], generator: Generator, quality: int | None = None
) -> None:
    """Write the frames as that generator does, in its own quality unless another is given."""
    options = generator.encoding(generator.quality if quality is None else quality)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            generator.codec, rate=Fraction(generator.fps), options=options
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
