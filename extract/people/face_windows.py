"""The aligned windows of faces that a video's views show, in bytes: for decode workers.

Seen are those that begin where a run of the protocol does (before the first and after the last
possible run, those of a mirrored track count as beginning there): of `windows-WxN` a few for each
face, of `windows-WxN:step1` all of them, as released. View by view they are dealt out in the
released order, track after track; of more windows than views, some spread evenly. A window of which
a frame was not decoded is none. Views that are left over show nothing; those of a video without a
face all do.
A view of `forged-V` shows one face that is in all of its frames, be they left out or shown twice,
aligned as any other; then the aligned pictures are forged, so that the region is on the face. What
is blended in is the same face at its other moment, aligned for itself. Which of several faces it is
follows from the view alone; where none is in all those frames, it shows nothing.
Legend: v views, t frames, s side of a picture, c colour.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.people.alignment import Crop, aligned, cropped
from extract.people.boxes_file import read_same_boxes
from extract.people.detections import Found
from extract.people.tracking import Track, tracked, valid_faces
from extract.people.warping import Rule
from extract.people.windows import Window, frame_numbers, windows
from extract.views.transforms import Frames, changed
from extract.views.view import View

WHERE = 4
"""Numbers that say where a window is: its track, its first frame (of a short track, which is
mirrored, perhaps before the video), the track's first frame and the one after its last. Of a forged
view whose frames are left out or shown twice the first one is named alike; which follow it says the
view, not `windows.shown_frames`."""
NOWHERE = -1
HEADER = 1 + 4 * WHERE
"""Bytes before a window's pixels: whether it is there, and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceWindows:
    """A video's tracks and those of their windows that its views show."""

    tracks: tuple[Track, ...]
    shown: tuple[Window, ...]
    """Of the first views, in order."""

    def where(self, window: Window) -> tuple[int, int, int, int]:
        track = self.tracks[window.track]
        return window.track, window.start, track.start, track.stop

    def crops(self, window: Window, frames: Frames) -> list[Crop]:
        """What is around the face in each of its frames."""
        faces = [self.tracks[window.track].faces[place] for place in window.places]
        return [
            cropped(frames[face.frame], face.box, face.points)
            for face in faces
            if face.points is not None  # those without were never followed
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceLook:
    """How a video's faces are looked at."""

    boxes: str
    """A file of boxes."""
    content: str
    """Hash of what must be in it."""
    first: int = 0
    """In how many frames from the first on faces are followed; 0: in all."""
    side: int
    """Of an aligned picture."""
    rule: Rule


def face_windows(frames: Frames, views: Sequence[View], **look: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    """(v, header + t s s c)."""
    how = FaceLook(**look)
    length = len(views[0].frames)
    rows = np.zeros((len(views), HEADER + length * how.side**2 * 3), np.uint8)
    rows[:, 1:HEADER] = np.full(WHERE, NOWHERE, "<i4").view(np.uint8)
    whole = views[0].length
    found = read_same_boxes(how.boxes, how.content).of_view(views[0].video, whole)
    faces = valid_faces(found, min(whole, how.first) if how.first else whole)
    if views[0].forgery is not None:
        _fill_forged(rows, tracked(faces), views, frames, how)
        return rows
    chosen = chosen_windows(faces, views, frames)
    for row, window in zip(rows, chosen.shown, strict=False):
        _fill(row, chosen, window, aligned(chosen.crops(window, frames), how.side, how.rule))
    return rows


def chosen_windows(
    faces: Sequence[Sequence[Found]], views: Sequence[View], decoded: Container[int]
) -> FaceWindows:
    """Which windows a video's views show, by the faces in each of its frames."""
    tracks = tracked(faces)
    length = len(views[0].frames)
    last = max(0, views[0].length - length)
    runs = {view.frames[0] for view in views if view.missing < length}
    every = [
        window
        for window in windows(tracks, length)
        if min(max(window.start, 0), last) in runs
        and all(number in decoded for number in frame_numbers(window, tracks))
    ]
    if len(every) > len(views):
        count = len(views)
        every = [every[(2 * view + 1) * len(every) // (2 * count)] for view in range(count)]
    return FaceWindows(tracks=tuple(tracks), shown=tuple(every))


def forged_window(
    tracks: Sequence[Track], view: View, decoded: Container[int]
) -> tuple[Window, Window] | None:
    """One face in a forged view's frames, and the same one in those that are blended in."""
    wanted = (*view.frames, *view.others)
    if view.missing or any(number not in decoded for number in wanted):
        return None
    first, last = min(wanted), max(wanted)
    held = [n for n, one in enumerate(tracks) if one.start <= first and last < one.stop]
    if not held:
        return None
    track = held[int(view.rng("face").integers(len(held)))]
    start = tracks[track].start
    own, other = (
        Window(
            track=track, start=min(numbers, default=start),
            places=tuple(number - start for number in numbers),
        )
        for numbers in (view.frames, view.others)
    )  # fmt: skip
    return own, other


def _fill_forged(
    rows: NDArray[np.uint8], tracks: list[Track], views: Sequence[View], frames: Frames,
    how: FaceLook,
) -> None:  # fmt: skip
    """Aligned first, then forged."""
    for row, view in zip(rows, views, strict=True):
        found = forged_window(tracks, view, frames)
        if found is None:
            continue
        shown = FaceWindows(tracks=tuple(tracks), shown=found)
        own, other = (
            list(aligned(crops, how.side, how.rule)) if crops else []
            for crops in (shown.crops(window, frames) for window in found)
        )
        _fill(row, shown, found[0], np.stack(changed(own, other, view)))


def _fill(
    row: NDArray[np.uint8], windows: FaceWindows, window: Window, pictures_tssc: NDArray[np.uint8]
) -> None:
    row[0] = 1
    row[1:HEADER] = np.array(windows.where(window), "<i4").view(np.uint8)
    row[HEADER:] = pictures_tssc.reshape(-1)
