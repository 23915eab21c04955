"""Where a long video is cut into segments: every so many seconds, or at shot boundaries.

A shot boundary is a picture that differs from the one before, in its colours and, a small shift
allowed for, in its content, two and a half times as much as any neighbour does: so a pan, a flash
and a noisy picture are none. Dissolves and fades are not found, unless a network is asked. Shots
that last longer than a window are cut into equal parts.
"""

import importlib
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.decoding.video import OpenVideo
from extract.errors import BadSetting
from extract.manifest.segments import Segment

SMALL = (48, 27)
"""Width and height at which pictures are compared."""
LONGEST = 10.0
"""Seconds of a shot that are one segment."""
SHORTEST = 1.0
"""A rest that is shorter belongs to the segment before it, a shot to the one after it."""
_AROUND = 3
"""Neighbours on each side."""
_DIFFERS = 0.18
_OUTSTANDS = 2.5
_SHIFT = 2
"""Pixels of a small picture."""
_LEVELS = 4
"""Of each colour, in a histogram."""
Small = NDArray[np.uint8]
Starts = Callable[[Iterable[Small]], Iterator[int]]
"""Numbers of the pictures that begin another shot than the one before them."""
NETWORKS = {"transnetv2": "extract.networks.transnetv2"}
"""Modules with `check()`, and `load()` that gives `Starts`: imported by those who need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How videos are cut."""

    shots: bool
    seconds: float = LONGEST
    """The longest segment."""
    network: str = ""
    """That finds the shots; empty: what is here does."""

    @staticmethod
    def parse(text: str) -> "Cutting":
        """`shots`, `shots:transnetv2`, `windows=10s`."""
        found = re.fullmatch(r"windows=(\d+(?:\.\d+)?)s?", text)
        seconds = float(found[1]) if found else LONGEST
        kind, _, network = text.partition(":")
        shots = kind == "shots" and (text == kind or network in NETWORKS)
        if (not shots and found is None) or seconds < SHORTEST:
            by = " or ".join(f"shots:{name}" for name in NETWORKS)
            raise BadSetting(
                f"Segments {text!r}: give shots, {by}, or windows=SECONDS of {SHORTEST:g} or more, "
                f"such as windows=10s."
            )
        return Cutting(shots=shots, seconds=seconds, network=network)

    def __str__(self) -> str:
        if not self.shots:
            return f"windows={self.seconds:g}s"
        return f"shots:{self.network}" if self.network else "shots"

    def check(self) -> None:
        """Whether what finds the shots is installed."""
        if self.network:
            importlib.import_module(NETWORKS[self.network]).check()

    def load(self) -> Starts:
        """What finds the shots."""
        if not self.network:
            return shot_starts
        loaded: Starts = importlib.import_module(NETWORKS[self.network]).load()
        return loaded

    def marks(self, video: OpenVideo, find: Starts | None = None) -> list[float]:
        """Seconds at which segments begin, and at which the last one ends; `find`: as loaded."""
        times = video.times
        end = math.ceil(1000 * (times[-1] + 1 / float(video.rate))) / 1000
        if not self.shots:
            return [*windows(0.0, end, self.seconds), end]
        starts = [0.0]
        for number in (find or self.load())(video.small_frames(*SMALL)):
            start = (times[number - 1] + times[number]) / 2
            if min(start - starts[-1], end - start) >= SHORTEST:
                starts.append(round(start, 3))
        shots = list(pairwise([*starts, end]))
        return [*(mark for start, stop in shots for mark in parts(start, stop, self.seconds)), end]


def segments(marks: Iterable[float]) -> list[Segment]:
    """Between neighbouring marks."""
    return [Segment(start=start, end=end) for start, end in pairwise(marks)]


def windows(start: float, end: float, seconds: float) -> list[float]:
    """Starts of windows; the rest is one too, or belongs to the last."""
    count = max(1, math.ceil((end - start - SHORTEST) / seconds))
    return [round(start + number * seconds, 3) for number in range(count)]


def parts(start: float, end: float, seconds: float) -> list[float]:
    """Starts of equal parts that are no longer than that."""
    count = math.ceil((end - start) / seconds - 1e-9)
    return [round(start + number * (end - start) / count, 3) for number in range(count)]


def shot_starts(pictures: Iterable[Small]) -> Iterator[int]:
    """Numbers of the pictures that begin another shot than the one before them."""
    around: deque[tuple[int, float]] = deque([(0, 0.0)] * _AROUND, maxlen=2 * _AROUND + 1)
    for each in chain(_differences(pictures), [(0, 0.0)] * _AROUND):
        around.append(each)
        if len(around) < 2 * _AROUND + 1:
            continue
        middle, most = around[_AROUND]
        others = max(d for place, (_, d) in enumerate(around) if place != _AROUND)
        if most >= _DIFFERS and most >= _OUTSTANDS * others:
            yield middle


def _differences(pictures: Iterable[Small]) -> Iterator[tuple[int, float]]:
    """Of each picture to the one before it, 0 to about 1."""
    before: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    for number, picture in enumerate(pictures):
        now = _colours(picture), cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) / 255
        if before is not None:
            colours = float(np.abs(now[0] - before[0]).sum()) / 2
            yield number, (colours + 2 * _content(before[1], now[1])) / 2
        before = now


def _colours(picture: Small) -> NDArray[np.float64]:
    """Shares of 64 colours."""
    level = picture.astype(np.int64) * _LEVELS // 256
    index = (level[..., 0] * _LEVELS + level[..., 1]) * _LEVELS + level[..., 2]
    return np.bincount(index.ravel(), minlength=_LEVELS**3) / index.size


def _content(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """How much of a picture is left that no small shift explains."""
    inner = now[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    squares = cv2.matchTemplate(before.astype(np.float32), inner.astype(np.float32), cv2.TM_SQDIFF)
    return math.sqrt(max(float(squares.min()), 0.0) / inner.size)
