"""One look at a video: which frames, which square of them, what is done to them before.

A view follows from (video id, number of frames and their rate, view index, run seed) and nothing
else: not from the order of the videos, the worker, the machine or a restart. `protocol.py` decides
on views; `transforms.py` and `perturb.py` carry them out. Random numbers come from NumPy's PCG64
seeded by a SHA-256; the same numbers on every machine.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extract.views.damage import Perturbation

CLIP_SIZE = 224
DEPTH_POSITIONS = (0, 3)


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
    missing: int = 0
    """How many of them, at the end, the video does not have: they only fill up."""
    size: int = CLIP_SIZE
    """The clip's height and width; the short side is resized to it first, except in training."""
    crop: Crop
    augmentation: str | None = None
    """RandAugment's name, for training; random resized crop and erasing come with it."""
    blended: bool = False
    """The frames are blended with a changed copy of themselves before anything else."""
    forgery: str | None = None
    """In which way the clip is forged, see `forgeries`; empty: it is left as it is, and others
    are forged; None: none is."""
    others: tuple[int, ...] = ()
    """Frames of which a forgery takes something."""
    canonical: bool = False
    """Frames are those of the video's canonical encoding."""
    perturbation: Perturbation | None = None
    video: str = ""
    """Its id, for what is known of a video beside its pixels, such as boxes."""
    length: int = 0
    """How many frames the video has; 0: nobody said."""
    seed: int
    """Of everything random in this view."""

    @property
    def depth_frames(self) -> tuple[int, ...]:
        """Frame numbers that Depth Pro sees."""
        return tuple(self.frames[position] for position in DEPTH_POSITIONS)

    @property
    def changed(self) -> bool:
        """Whether its pictures are others than the frames."""
        return self.blended or bool(self.forgery)

    @property
    def present(self) -> tuple[bool, ...]:
        """Which of the frames the video has."""
        there = len(self.frames) - self.missing
        return tuple(position < there for position in range(len(self.frames)))

    def rng(self, purpose: str) -> np.random.Generator:
        """A fresh generator; every purpose has its own numbers."""
        return np.random.default_rng(digest(str(self.seed), purpose))


def view_seed(run_seed: int, video_id: str, index: int) -> int:
    """63 bits, so that it fits wherever an int64 does."""
    return digest(str(run_seed), video_id, str(index)) >> 65


def digest(*parts: str) -> int:
    """128 bits; parts are kept apart by their lengths."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16])


def needed_frames(views: Sequence[View]) -> tuple[int, ...]:
    """The union of the frame numbers, in order: what one decoding pass has to deliver."""
    return tuple(sorted({frame for view in views for frame in (*view.frames, *view.others)}))
