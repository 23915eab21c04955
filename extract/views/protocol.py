"""Protocols and views: which looks are taken at a video, exactly.

A view follows from (video id, number of frames, view index, run seed) and nothing else: not from
the order of the videos, the worker, the machine or a restart. Frame indices are the released
HumanSAM code's. This module decides; `transforms.py` and `perturb.py` carry out.

Random numbers come from NumPy's PCG64 seeded by a SHA-256; the same numbers on every machine.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from typing import Protocol as Interface

import numpy as np

from extract.errors import BadProtocol
from extract.views.clip_changes import FORM, Clip, ClipChange, changed_clip, parse_changes
from extract.views.revisions import revisions

CLIP_FRAMES = 8
CLIP_SIZE = 224
DEPTH_POSITIONS = (0, 3)
TRAIN_AUGMENTATION = "rand-m7-n4-mstd0.5-inc1"

_NAME = re.compile(rf"(val|test-(\d+)x(\d+)|train-(\d+)({FORM})|pairs-(\d+))(?:\+(.+))?")
_PERTURBATION = re.compile(r"(blur|jpeg|resize|h264crf|mixed)([0-9.]*)")
_RANGES = {
    "blur": (0.1, 20.0),
    "jpeg": (1.0, 100.0),
    "resize": (0.05, 1.0),
    "h264crf": (0.0, 51.0),
}
_WHOLE = ("jpeg", "h264crf")


class IntegerDraw(Interface):
    """What `train_frames` needs of a random generator: `numpy.random.Generator` has it."""

    def integers(self, low: int, high: int, size: int) -> Iterable[int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """Damage done to the decoded frames before anything else sees them."""

    kind: str
    """blur, jpeg, resize, h264crf or mixed."""
    amount: float = 0.0
    """blur: Gaussian sigma in pixels; jpeg: quality; resize: factor; h264crf: constant rate
    factor; mixed has none."""

    def __post_init__(self) -> None:
        if self.kind == "mixed":
            if self.amount:
                raise BadProtocol(f"Perturbation mixed takes no number, got {self.amount:g}.")
            return
        if self.kind not in _RANGES:
            raise BadProtocol(f"Perturbation {self.kind!r} unknown; have: {', '.join(_RANGES)}.")
        low, high = _RANGES[self.kind]
        if not low <= self.amount <= high or (self.kind in _WHOLE and self.amount % 1):
            whole = "a whole number " if self.kind in _WHOLE else ""
            raise BadProtocol(
                f"Perturbation {self.kind}{self.amount:g}: give {whole}from {low:g} to {high:g}."
            )

    @property
    def name(self) -> str:
        return "mixed" if self.kind == "mixed" else f"{self.kind}{self.amount:g}"

    @property
    def needs_every_frame(self) -> bool:
        """A video codec's output depends on all frames before."""
        return self.kind == "h264crf"

    @staticmethod
    def parse(text: str) -> "Perturbation":
        found = _PERTURBATION.fullmatch(text)
        if found is None or (found[1] != "mixed" and not found[2]):
            raise BadProtocol(
                f"Perturbation {text!r} unknown; have: blurSIGMA (blur3), jpegQUALITY (jpeg50), "
                f"resizeFACTOR (resize0.7), h264crfN (h264crf28), mixed."
            )
        try:
            amount = float(found[2] or 0)
        except ValueError as error:
            raise BadProtocol(f"Perturbation {text!r}: {found[2]!r} is not a number.") from error
        return Perturbation(kind=found[1], amount=amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """Which square is taken from the resized frame."""

    kind: str
    """center (validation), uniform (one of `count` along the long side), random (training), none
    (pairs)."""
    position: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One deterministic look at a video."""

    index: int
    frames: tuple[int, ...]
    """Frame numbers in clip order; numbers repeat where the video is short."""
    size: int = CLIP_SIZE
    """The clip's height and width; the short side is resized to it first, except in training."""
    crop: Crop
    augmentation: str | None = None
    """RandAugment's name, for training; random resized crop and erasing come with it."""
    blended: bool = False
    """The frames are blended with a changed copy of themselves before anything else."""
    perturbation: Perturbation | None = None
    seed: int
    """Of everything random in this view."""

    @property
    def depth_frames(self) -> tuple[int, ...]:
        """Frame numbers that Depth Pro sees."""
        return tuple(self.frames[position] for position in DEPTH_POSITIONS)

    def rng(self, purpose: str) -> np.random.Generator:
        """A fresh generator; every purpose has its own numbers."""
        return np.random.default_rng(_digest(str(self.seed), purpose))


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The plan that yields a video's views. `Protocol.parse(p.name) == p`."""

    kind: str
    """val, test, train or pairs."""
    segments: int = 1
    """test: how many interleaved clips are taken in time."""
    crops: int = 1
    """test: how many crops of each along the long side."""
    samples: int = 1
    """train: how many augmented views."""
    pairs: int = 1
    """pairs: how many pairs of adjacent frames the one view has."""
    perturbation: Perturbation | None = None
    changes: tuple[ClipChange, ...] = ()
    """train: what is done to some clips in time."""

    def __post_init__(self) -> None:
        limits = {"segments": 64, "crops": 16, "samples": 256, "pairs": 256}
        for what, limit in limits.items():
            count = getattr(self, what)
            if not 1 <= count <= limit:
                raise BadProtocol(f"{count} {what} in a protocol: give 1 to {limit}.")

    @property
    def name(self) -> str:
        base = {
            "val": "val",
            "test": f"test-{self.segments}x{self.crops}",
            "train": f"train-{self.samples}" + "".join(change.name for change in self.changes),
            "pairs": f"pairs-{self.pairs}",
        }[self.kind]
        return base if self.perturbation is None else f"{base}+{self.perturbation.name}"

    @property
    def view_count(self) -> int:
        return self.segments * self.crops * self.samples

    @staticmethod
    def parse(name: str) -> "Protocol":
        found = _NAME.fullmatch(name)
        if found is None:
            raise BadProtocol(
                f"Protocol {name!r} unknown; have: val, test-SxC (test-4x3), train-V (train-8), "
                f"train-V:dropSHARE:repeatSHARE:blendSHARE, pairs-N (pairs-32), each with "
                f"+blurSIGMA, +jpegQUALITY, +resizeFACTOR, +h264crfN or +mixed."
            )
        return Protocol(
            kind=found[1].partition("-")[0],
            segments=int(found[2] or 1),
            crops=int(found[3] or 1),
            samples=int(found[4] or 1),
            pairs=int(found[6] or 1),
            perturbation=None if found[7] is None else Perturbation.parse(found[7]),
            changes=parse_changes(found[5] or ""),
        )

    def describe(self) -> dict[str, Any]:
        """In full, for a store's attributes: two protocols' pixels are the same if this is."""
        plain = asdict(self)
        pairs = plain.pop("pairs")
        if not self.changes:
            del plain["changes"]  # stores from before there were any say nothing of them
        plain["revisions"] = revisions(self)
        if self.kind == "pairs":
            return {**plain, "name": self.name, "pairs": pairs, "frames": 2 * pairs}
        return {
            **plain,
            "name": self.name,
            "frames": CLIP_FRAMES,
            "size": CLIP_SIZE,
            "augmentation": TRAIN_AUGMENTATION if self.kind == "train" else None,
        }

    def views(
        self, video_id: str, frame_count: int, *, seed: int = 0, size: int = CLIP_SIZE
    ) -> tuple[View, ...]:
        """All views of a video, in order: chunk, then crop."""
        if frame_count < 1:
            raise BadProtocol(f"A video of {frame_count} frames has no views.")
        if self.kind == "val":
            plan = [(Clip(frames=validation_frames(frame_count)), Crop(kind="center"))]
        elif self.kind == "test":
            chunks = interleaved_frames(frame_count, self.segments)
            crops = [
                Crop(kind="uniform", position=position, count=self.crops)
                for position in range(self.crops)
            ]
            plan = [(Clip(frames=frames), crop) for frames in chunks for crop in crops]
        elif self.kind == "pairs":
            plan = [(Clip(frames=adjacent_frames(frame_count, self.pairs)), Crop(kind="none"))]
        else:
            plan = [
                (self._train_clip(video_id, frame_count, index, seed), Crop(kind="random"))
                for index in range(self.samples)
            ]
        return tuple(
            View(
                index=index,
                frames=clip.frames,
                size=size,
                crop=crop,
                augmentation=TRAIN_AUGMENTATION if self.kind == "train" else None,
                blended=clip.blended,
                perturbation=self.perturbation,
                seed=view_seed(seed, video_id, index),
            )
            for index, (clip, crop) in enumerate(plan)
        )

    def _train_clip(self, video_id: str, frame_count: int, index: int, seed: int) -> Clip:
        rng = np.random.default_rng(_digest(str(view_seed(seed, video_id, index)), "frames"))
        if not self.changes:
            return Clip(frames=train_frames(frame_count, rng))
        choice = np.random.default_rng(_digest(str(view_seed(seed, video_id, index)), "clip"))
        return changed_clip(
            self.changes, CLIP_FRAMES, lambda clip: train_frames(frame_count, rng, clip), choice
        )


def view_seed(run_seed: int, video_id: str, index: int) -> int:
    """63 bits, so that it fits wherever an int64 does."""
    return _digest(str(run_seed), video_id, str(index)) >> 65


def _digest(*parts: str) -> int:
    """128 bits; parts are kept apart by their lengths."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16])


def validation_frames(count: int, clip: int = CLIP_FRAMES) -> tuple[int, ...]:
    """The middle of each of `clip` equal parts."""
    step = count // clip
    if step == 0:
        return _short(count, clip)
    return tuple(part * step + step // 2 for part in range(clip))


def train_frames(count: int, rng: IntegerDraw, clip: int = CLIP_FRAMES) -> tuple[int, ...]:
    """A random frame of each of `clip` equal parts."""
    step = count // clip
    if step == 0:
        return _short(count, clip)
    drawn = rng.integers(0, step, size=clip)
    return tuple(part * step + int(offset) for part, offset in enumerate(drawn))


def interleaved_frames(
    count: int, segments: int, clip: int = CLIP_FRAMES
) -> tuple[tuple[int, ...], ...]:
    """`segments` interleaved clips: all frames are sorted first and dealt out afterwards."""
    tick = count / clip
    frames = sorted(
        int(segment * tick / segments + tick * part)
        for segment in range(segments)
        for part in range(clip)
    )
    return tuple(tuple(frames[start::segments]) for start in range(segments))


def adjacent_frames(count: int, pairs: int) -> tuple[int, ...]:
    """Two frames that follow each other in the middle of each of `pairs` equal parts.

    A video with fewer pairs has some of them twice; one of a single frame has it beside itself.
    """
    starts = [(2 * part + 1) * (count - 1) // (2 * pairs) for part in range(pairs)]
    return tuple(frame for start in starts for frame in (start, min(start + 1, count - 1)))


def _short(count: int, clip: int) -> tuple[int, ...]:
    """Fewer frames than asked for: the first one is repeated in front."""
    return (0,) * (clip - count) + tuple(range(count))


def needed_frames(views: Sequence[View]) -> tuple[int, ...]:
    """The union of the frame numbers, in order: what one decoding pass has to deliver."""
    return tuple(sorted({frame for view in views for frame in view.frames}))
