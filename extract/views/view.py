"""One look at a video: which frames, which square of them, what is done to them before.

A view follows from (video id, number of frames and their rate, view index, run seed) and nothing
else: not from the order of the videos, the worker, the machine or a restart. `protocol.py` decides
on views; `transforms.py` and `perturb.py` carry them out. Random numbers come from NumPy's PCG64
seeded by a SHA-256; the same numbers on every machine.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extract.errors import BadProtocol

CLIP_SIZE = 224
DEPTH_POSITIONS = (0, 3)

_PERTURBATION = re.compile(r"(blur|jpeg|resize|h264crf|mixed)([0-9.]*)")
_RANGES = {
    "blur": (0.1, 20.0),
    "jpeg": (1.0, 100.0),
    "resize": (0.05, 1.0),
    "h264crf": (0.0, 51.0),
}
_WHOLE = ("jpeg", "h264crf")


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
    missing: int = 0
    """How many of them, at the end, the video does not have: they only fill up."""
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
    return tuple(sorted({frame for view in views for frame in view.frames}))
