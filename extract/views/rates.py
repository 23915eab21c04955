"""Frames by time: so many at so many a second, as one detector or another chooses them.

A rule gives the frames that it finds, in order, and at most as many as are asked for; the rest of
the view is missing. What a rule's authors draw at random is drawn here from a fixed seed or put in
the middle, since a video's frames must not depend on who else was there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_NOISE = 1e-9
"""A frame that begins within so much of a moment is the one shown then."""
_D3_WINDOW = 3.0
_D3_COUNTS = (16, 8)
_DEMAMBA_LONG = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What was asked for, of which video."""

    count: int
    """Frames of the video."""
    fps: float
    frames: int
    """How many are wanted."""
    rate: float
    """How many a second."""

    @property
    def seconds(self) -> float:
        return self.count / self.fps


Rule = Callable[[Pace], Sequence[int]]


def middle(pace: Pace) -> Sequence[int]:
    """From the middle of the video, never a frame twice.

    A video of fewer frames a second gives the ones that it has in as many seconds: frames repeated
    to reach a rate look like something that does not move.
    """
    step = max(1.0, pace.fps / pace.rate)
    wanted = min(
        pace.frames, max(1, math.floor(pace.frames / pace.rate * pace.fps / step + _NOISE))
    )
    found = _grid(pace.count, step)
    start = max(0, (len(found) - wanted) // 2)
    return found[start : start + wanted]


def stall(pace: Pace) -> Sequence[int]:
    """STALL's: a stretch drawn by its authors' seed; none of a video that is too slow or short.

    One generator is asked for stretches of 1, 2, 3 … seconds in turn, so the place of a longer one
    depends on the shorter ones.
    """
    if pace.fps < pace.rate:
        return ()
    found = _grid(pace.count, pace.fps / pace.rate)
    second = max(1, round(pace.rate))
    random = np.random.RandomState(42)
    for length in range(second, pace.frames + 1, second):
        if length > len(found):
            return ()
        start = int(random.randint(0, len(found) - length + 1))
        if length == pace.frames:
            return found[start : start + length]
    return ()


def restrav(pace: Pace) -> Sequence[int]:
    """ReStraV's: equally spaced moments of a stretch in the middle, both its ends among them.

    The frame shown at each moment is taken, the same one more than once where the video is slow;
    past the end the last moment before it stands in.
    """
    half, whole = pace.frames / pace.rate / 2, pace.seconds
    start = max(0.0, whole / 2 - half)
    moments = [start + part * 2 * half / (pace.frames - 1) for part in range(pace.frames)]
    last = max(moment for moment in moments if moment < whole - _NOISE)
    return [
        min(math.floor(min(moment, last) * pace.fps + _NOISE), pace.count - 1) for moment in moments
    ]


def d3(pace: Pace) -> Sequence[int]:
    """D3's: the first 16 or else the first 8 of what ffmpeg's `fps` filter gives for three seconds.

    Its authors start somewhere at random; here it is the beginning. A slow video's frames are
    repeated, as the filter does.
    """
    seconds = min(pace.seconds, _D3_WINDOW)
    made = math.floor(seconds * pace.rate + 0.5)
    used = next((count for count in _D3_COUNTS if count <= min(made, pace.frames)), 0)
    return [
        min(math.ceil((number + 0.5) * pace.fps / pace.rate - _NOISE) - 1, pace.count - 1)
        for number in range(used)
    ]


def demamba(pace: Pace) -> Sequence[int]:
    """DeMamba's: consecutive ones of 2 a second, or of as many as make 8 in a short video.

    Its authors start somewhere at random, in testing too; here it is the middle.
    """
    rate = pace.rate if pace.seconds >= _DEMAMBA_LONG else math.ceil(pace.frames / pace.seconds)
    found = _grid(pace.count, max(1.0, pace.fps / rate))
    start = max(0, (len(found) - pace.frames) // 2)
    return found[start : start + pace.frames]


RULES: dict[str, Rule] = {
    "": middle, "stall": stall, "restrav": restrav, "d3": d3, "demamba": demamba,
}  # fmt: skip
"""What may follow `frames-N@R:`."""


def _grid(count: int, step: float) -> list[int]:
    """Every `step`-th frame, rounded half to even."""
    found = (round(number * step) for number in range(math.ceil(count / step) + 1))
    return [number for number in found if number < count]
