"""What decode workers make of persons for a network on crops: squares in bytes, no torch.

A view becomes (frames, persons, slots, row). Slots are the person itself, its faces and its hands;
a row is a crop's pixels behind a header: whether it is there, whose it is, its box and how sure
the detector was. What is not there is zeros.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadSetting, VideoError
from extract.people.boxes_file import read_boxes, read_same_boxes
from extract.people.crops import Square, crop_look, square_around
from extract.people.detections import Detections, Found, Kind
from extract.people.persons import Identity, persons_at, persons_of
from extract.views.looks import Look, looked
from extract.views.transforms import Frames
from extract.views.view import View

Picture = NDArray[np.uint8]
HEADER = np.dtype(
    [("there", "<i4"), ("person", "<i4"), ("box", "<f4", 4), ("score", "<f4")], align=True
)
WHOLE: Mapping[str, Kind] = {f"whole-{kind}": kind for kind in ("person", "face", "hand")}
"""In place of a file of boxes: every frame is a crop of that kind already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPlan:
    """Which crops are made, and how."""

    boxes: str
    """A file of boxes, or one of WHOLE."""
    boxes_hash: str = ""
    """Of the file's content, by which workers know it."""
    found_by: str = ""
    """What stands for the file in a fingerprint, as JSON: `BoxesFile.decides`."""
    persons: int = 4
    """Of a frame, the surest first."""
    faces: int = 1
    hands: int = 2
    """Of a person."""
    size: int = 224
    bgr: bool = False
    identity: Identity = "track"
    empty_box: Literal["skip", "error"] = "skip"
    """What a box of which nothing can be cut is."""

    def __post_init__(self) -> None:
        limits = {"persons": 32, "faces": 8, "hands": 8, "size": 512}
        for name, most in limits.items():
            if not 1 <= getattr(self, name) <= most:
                raise BadSetting(f"{name}={getattr(self, name)}: give 1 to {most}.")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Of the slots of a person."""
        counts: tuple[tuple[Kind, int], ...] = (
            ("person", 1), ("face", self.faces), ("hand", self.hands),
        )  # fmt: skip
        return tuple(kind for kind, count in counts for _ in range(count))

    @property
    def row(self) -> int:
        """Bytes of a slot."""
        return HEADER.itemsize + self.size**2 * 3

    @property
    def only(self) -> int | None:
        """The first person's slot that pictures fill which are crops already; none: a file says
        who is where."""
        return self.kinds.index(WHOLE[self.boxes]) if self.boxes in WHOLE else None

    def shape(self, frames: int) -> tuple[int, ...]:
        return (frames, self.persons, len(self.kinds), self.row)

    @property
    def look(self) -> Look:
        return crop_look(self.size, bgr=self.bgr)

    def plain(self) -> dict[str, Any]:
        """On its way to a worker."""
        return asdict(self)

    def decides(self) -> dict[str, Any]:
        """For a fingerprint: who found the boxes, not where they lie."""
        found = {**asdict(self), "look": self.look.plain()}
        del found["boxes_hash"], found["found_by"]
        if self.boxes not in WHOLE:
            found["boxes"] = json.loads(self.found_by)
        return found


def person_crops(frames: Frames, views: Sequence[View], **plan: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    """(v, *plan.shape)"""
    how = CropPlan(**plan)
    count = len(views[0].frames)
    made = np.zeros((len(views), *how.shape(count)), np.uint8)
    for place, view in enumerate(views):
        persons = None if how.boxes in WHOLE else _persons(how, view, frames)
        there = view.frames[: len(view.frames) - view.missing]
        for position, number in enumerate(there):
            if persons is None:
                _put_whole(made[place, position, 0], frames[number], how)
            else:
                _put_persons(made[place, position], frames[number], number, persons, how)
    return made


def _persons(how: CropPlan, view: View, frames: Frames) -> Detections:
    """The boxes of a view's video, cut to its frames."""
    found = _video_persons(how.boxes, how.boxes_hash, view.video, view.length, how.identity)
    height, width = frames[view.frames[0]].shape[:2]
    if how.empty_box == "error":
        return found
    return found.inside(width, height)


@lru_cache(maxsize=4)
def _video_persons(
    path: str, content: str, video: str, length: int, identity: Identity
) -> Detections:
    """Once for all the views of a video."""
    boxes = read_same_boxes(path, content)
    return persons_of(boxes.of_view(video, length), identity)


def _put_whole(slots: Picture, frame_hwc: Picture, how: CropPlan) -> None:
    height, width = frame_hwc.shape[:2]
    kind = WHOLE[how.boxes]
    box = (0.0, 0.0, float(width), float(height))
    found = Found(frame=0, kind=kind, box=box, person=0)
    square = Square(left=0, top=0, right=width, bottom=height)
    _put(slots[how.kinds.index(kind)], frame_hwc, square, found, how)


def _put_persons(
    rows: Picture, frame_hwc: Picture, number: int, found: Detections, how: CropPlan
) -> None:
    height, width = frame_hwc.shape[:2]
    for slots, person in zip(rows, persons_at(found, number), strict=False):
        for kind in ("person", "face", "hand"):
            first, count = how.kinds.index(kind), how.kinds.count(kind)
            boxes = person.best(kind, count).found()
            for slot, one in zip(slots[first : first + count], boxes, strict=False):
                square = square_around(one.box, width, height)
                if square is not None:
                    _put(slot, frame_hwc, square, one, how)
                elif how.empty_box == "error":
                    raise VideoError(
                        f"nothing can be cut of the {kind} {one.box} of frame {number}"
                    )


def _put(slot: Picture, frame_hwc: Picture, square: Square, found: Found, how: CropPlan) -> None:
    header = slot[: HEADER.itemsize].view(HEADER)[0]
    header["there"], header["person"] = 1, found.person
    header["box"], header["score"] = found.box, found.score
    slot[HEADER.itemsize :] = looked(square.of(frame_hwc), how.look).reshape(-1)


def plan_of(boxes: str, **settings: Any) -> CropPlan:  # noqa: ANN401
    """With the file's hash; a file that cannot be read is refused here, not in every worker."""
    if boxes in WHOLE:
        return CropPlan(boxes=boxes, **settings)
    path = Path(boxes).expanduser().absolute()
    file = read_boxes(path)
    known = json.dumps(file.decides, sort_keys=True)
    return CropPlan(boxes=str(path), boxes_hash=file.hash, found_by=known, **settings)
