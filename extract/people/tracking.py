"""Faces followed from frame to frame as the released AltFreezing follows them, quirks and all.

A track begins in the first frame alone and counts only if it reaches the last one. Where none does,
the video is cut into runs, and of each run the first track is taken. What looks odd there is kept,
since published numbers come of it: a frame after one in which no run could begin is never looked
at, and a run ends where the number of its tracks changes. Boxes are x1, y1, x2, y2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from extract.people.detections import Detections, Found, Quad

MOST_FACES = 10
"""Of a frame; the likeliest."""
LEAST_SCORE = 0.5
"""Of a face that is looked at at all."""
FIRST_SCORE = 0.8
"""Of one that begins a track."""
SAME = 0.5
"""Overlap (intersection over union) of one face in two frames."""
_LEAST_RUN = 2

Faces = Sequence[Found]
"""Of one frame, likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One face in frames that follow each other."""

    start: int
    """The first frame."""
    faces: tuple[Found, ...]
    """One for each frame."""

    @property
    def stop(self) -> int:
        """The frame after the last one."""
        return self.start + len(self.faces)


def valid_faces(found: Detections, frames: int) -> list[list[Found]]:
    """Of each of the first `frames` frames: faces that have five points and a fair score, at most
    ten, the likeliest first. A frame in which nobody looked is an error."""
    faces = found.of("face")
    by_frame: list[list[Found]] = [[] for _ in range(frames)]
    if faces.canvas is not None:
        for frame in range(frames):
            faces.at(frame)
    for one in faces.found():
        if one.frame < frames and one.score >= LEAST_SCORE and one.points is not None:
            by_frame[one.frame].append(one)
    return [sorted(some, key=lambda one: -one.score)[:MOST_FACES] for some in by_frame]


def tracked(faces: Sequence[Faces]) -> list[Track]:
    """What is used of a video: tracks over all its frames, or else one track for each run."""
    return whole_tracks(faces) or longest_runs(faces)


def whole_tracks(faces: Sequence[Faces], start: int = 0, stop: int | None = None) -> list[Track]:
    """Tracks from frame `start` that are still there in the frame before `stop`."""
    stop = len(faces) if stop is None else stop
    if start >= stop:
        return []
    tracks = [[first] for first in _beginnings(faces[start])]
    for frame in range(start + 1, stop):
        tracks = _followed(tracks, faces[frame])
    return [Track(start=start, faces=tuple(track)) for track in tracks]


def longest_runs(faces: Sequence[Faces]) -> list[Track]:
    """The first track of each run of two or more frames in which equally many tracks go on."""
    runs: list[Track] = []
    start = 0
    while start + _LEAST_RUN <= len(faces):
        tracks = _followed([[first] for first in _beginnings(faces[start])], faces[start + 1])
        stop = start + _LEAST_RUN
        if tracks:
            while stop < len(faces) and len(longer := _followed(tracks, faces[stop])) == len(
                tracks
            ):
                tracks, stop = longer, stop + 1
            runs.append(Track(start=start, faces=tuple(tracks[0])))
        start = stop
    return runs


def overlap(one: Quad, other: Quad) -> float:
    """Intersection over union."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    both = across * down
    return both / (_area(one) + _area(other) - both)


def _beginnings(faces: Faces) -> list[Found]:
    """Faces that are likely enough and no second box of an earlier one."""
    chosen: list[Found] = []
    for face in faces:
        apart = all(overlap(face.box, other.box) <= SAME for other in chosen)
        if face.score >= FIRST_SCORE and apart:
            chosen.append(face)
    return chosen


def _followed(tracks: list[list[Found]], faces: Faces) -> list[list[Found]]:
    """Each track with the face that overlaps most with its last one; without those that end."""
    longer = []
    for track in tracks:
        overlaps = [overlap(track[-1].box, face.box) for face in faces]
        if overlaps and max(overlaps) >= SAME:
            longer.append([*track, faces[overlaps.index(max(overlaps))]])
    return longer


def _area(box: Quad) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
