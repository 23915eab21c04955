"""Segments: stretches of a video that are rows of their own, `path#t=12.0,17.5` (W3C media
fragments: seconds from the first frame; the end belongs to what follows).
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from extract.errors import BadSetting, VideoError

_FORM = re.compile(r"(?P<path>.+)#t=(?P<start>\d+(?:\.\d+)?),(?P<end>\d+(?:\.\d+)?)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Segment:
    """From `start` seconds until just before `end`."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise BadSetting(f"Segment {self}: its end has to come after its start.")

    def __str__(self) -> str:
        return f"#t={_seconds(self.start)},{_seconds(self.end)}"

    def frames(self, times: Sequence[float]) -> range:
        """Numbers of its frames; `times` are those of all frames, ascending."""
        found = range(bisect_left(times, self.start), bisect_left(times, self.end))
        if not found:
            raise VideoError(
                f"no frame lies between {_seconds(self.start)} and {_seconds(self.end)} seconds; "
                f"the last is at {times[-1]:.3f}"
            )
        return found


def split_name(name: str) -> tuple[str, Segment | None]:
    """The path, and the segment where one is named."""
    found = _FORM.fullmatch(name)
    if found is None:
        return name, None
    return found["path"], Segment(start=float(found["start"]), end=float(found["end"]))


def segment_of(video_id: str, path: str) -> Segment | None:
    """The segment that an id names of the file at `path`; a file may be called like one."""
    _, segment = split_name(video_id)
    return None if segment is None or split_name(path)[1] is not None else segment


def _seconds(value: float) -> str:
    """To a thousandth, without zeros that say nothing."""
    text = f"{value:.3f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text
