"""Windows of consecutive frames of a face's track, as AltFreezing scores them.

Every run of N frames is a window. A track shorter than N is continued at both ends by N - 1 of its
own frames, mirrored (the end itself is not repeated), so two frames give N + 1 windows and count
for more than a track of N, which gives one: as released.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from extract.people.tracking import Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of a track."""

    track: int
    """Its place among the video's tracks."""
    start: int
    """The frame that it begins with; before or in a short track, where the track is mirrored."""
    places: tuple[int, ...]
    """Of its frames in the track; mirrored ones come more than once."""


def windows(tracks: Sequence[Track], frames: int) -> list[Window]:
    """All windows of so many frames, track by track."""
    return [window for number, track in enumerate(tracks) for window in _of(number, track, frames)]


def frame_numbers(window: Window, tracks: Sequence[Track]) -> tuple[int, ...]:
    """The frames of the video that a window shows, in its order."""
    first = tracks[window.track].start
    return tuple(first + place for place in window.places)


def shown_frames(start: int, first: int, stop: int, frames: int) -> tuple[int, ...]:
    """The same of a window of so many frames that begins with `start`, by where its track begins
    and ends: what a store says of it."""
    return tuple(first + mirrored(start + offset - first, stop - first) for offset in range(frames))


def video_score(scores: Sequence[float]) -> float:
    """The mean over all windows of all tracks; of none there is none (NaN)."""
    return math.fsum(scores) / len(scores) if scores else math.nan


def frame_scores(
    scores: Iterable[float], shown: Iterable[Sequence[int]], frames: int
) -> list[float]:
    """Of each frame of a video, the mean over the windows that show it (`shown`: their frames), as
    often as they do; NaN where no window does."""
    held: list[list[float]] = [[] for _ in range(frames)]
    for score, numbers in zip(scores, shown, strict=True):
        for number in numbers:
            held[number].append(score)
    return [video_score(some) for some in held]


def mirrored(place: int, length: int) -> int:
    """Where in a track a place before or behind it lies, with a mirror at both ends."""
    if length == 1:
        return 0
    place = place % (2 * (length - 1))
    return min(place, 2 * (length - 1) - place)


def _of(number: int, track: Track, frames: int) -> list[Window]:
    length = len(track.faces)
    first, last = (0, length - frames) if length >= frames else (1 - frames, length - 1)
    return [
        Window(
            track=number,
            start=track.start + begin,
            places=tuple(mirrored(begin + offset, length) for offset in range(frames)),
        )
        for begin in range(first, last + 1)
    ]
