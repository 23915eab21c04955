"""One person in place of the whole frame, for any branch: `?crop=person&boxes=FILE&margin=10`.

Who fills most of the video (areas of its boxes, added up over frames; of two alike the lower
number) is looked at through one square that does not move, since one that followed the person would
hide how it moves. It is as long as the long side of all that person's boxes together and a margin
at both ends, at most as long as the frame is high or wide, around their middle as far as the frame
goes. Frames are cut in the decode worker, before anything that a branch's own preparation does;
there is no torch.

A video in which nobody is has nothing present, where a branch says what is; for other branches it
fails.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from extract.decoding.job import Output
from extract.errors import BadSetting, VideoError
from extract.people.boxes_file import read_boxes, read_same_boxes
from extract.people.crops import Square
from extract.people.detections import Detections
from extract.people.persons import persons_of
from extract.views.transforms import Frames
from extract.views.view import View
from features_store.schema import fingerprint

CROP = "crop"
OPTIONS = (CROP, "boxes", "margin")
PERSON = "person"
MARGIN = 10
"""Percent of the square's contents, at each end."""
_MOST = 100
REVISION = 1
"""Raise it when another square is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonView:
    """Who is looked at, and what is cut."""

    boxes: str
    boxes_hash: str
    """Of the file's content, by which workers know it."""
    found_by: str
    """What stands for the file in a fingerprint, as JSON: `BoxesFile.decides`."""
    margin: int = MARGIN

    @staticmethod
    def asked(options: Mapping[str, str]) -> "PersonView":
        """By a branch's options; a file that cannot be read is refused here, not in workers."""
        if options[CROP] != PERSON:
            raise BadSetting(f"crop={options[CROP]!r} unknown; have: {PERSON}.")
        if "boxes" not in options:
            raise BadSetting(
                "crop=person needs to know where people are: give boxes=FILE beside it, as "
                "`telltale people` writes it."
            )
        margin = options.get("margin", str(MARGIN))
        if not (margin.isascii() and margin.isdecimal() and int(margin) <= _MOST):
            raise BadSetting(f"margin={margin}: give 0 to {_MOST}, in percent.")
        file = read_boxes(Path(options["boxes"]).expanduser().absolute())
        return PersonView(
            boxes=str(file.path), boxes_hash=file.hash, margin=int(margin),
            found_by=json.dumps(file.decides, sort_keys=True),
        )  # fmt: skip

    def decides(self) -> dict[str, Any]:
        """For a fingerprint: who found the boxes, not where they lie."""
        return {
            "of": PERSON, "boxes": json.loads(self.found_by), "margin": self.margin,
            "revision": REVISION,
        }  # fmt: skip

    def prepared(self, output: Output, *, says_present: bool) -> Output:
        """The same array, of the person. `says_present`: the branch says what is there."""
        who = {**asdict(self), "says_present": says_present}
        return replace(
            output, name=f"{output.name}-of-person-{fingerprint(self.decides())[:8]}",
            whole=output.name, part="extract.people.person_view:person_alone",
            part_options=tuple(who.items()),
        )  # fmt: skip


def person_alone(
    frames: Frames,
    views: Sequence[View],
    *,
    says_present: bool,
    **who: Any,  # noqa: ANN401
) -> tuple[Frames, Sequence[View]]:
    """The square of every frame, and the views of them; there is nothing in these where nobody is
    in the video."""
    view, look = views[0], PersonView(**who)
    height, width = frames[view.frames[0]].shape[:2]
    square = _square(look, view.video, view.length, width, height)
    if square is not None:
        return {number: square.of(frame_hwc) for number, frame_hwc in frames.items()}, views
    if not says_present:
        raise VideoError(f"nobody is in it, as {Path(look.boxes).name} has it")
    return frames, [replace(each, missing=len(each.frames)) for each in views]


def person_square(found: Detections, width: int, height: int, margin: int) -> Square | None:
    """Around who fills most of a video, in pixels of its frames; none where nobody is there."""
    persons = persons_of(found.inside(width, height)).of("person")
    if not len(persons):
        return None
    sizes_n2 = persons.boxes_n4[:, 2:] - persons.boxes_n4[:, :2]
    _, places = np.unique(persons.persons_n, return_inverse=True)
    areas = np.bincount(places, weights=sizes_n2.astype(np.float64).prod(1))
    own = persons.boxes_n4[places == areas.argmax()].astype(np.float64)
    first, last = own[:, :2].min(0), own[:, 2:].max(0)
    wanted = float((last - first).max()) * (1 + 2 * margin / 100)
    side = max(1, min(round(wanted), width, height))
    middle = (first + last) / 2
    left, top = (
        int(min(max(round(float(at) - side / 2), 0), size - side))
        for at, size in zip(middle, (width, height), strict=True)
    )
    return Square(left=left, top=top, right=left + side, bottom=top + side)


@lru_cache(maxsize=8)
def _square(who: PersonView, video: str, length: int, width: int, height: int) -> Square | None:
    """Once for all branches and protocols of a video."""
    boxes = read_same_boxes(who.boxes, who.boxes_hash)
    return person_square(boxes.of_view(video, length), width, height, who.margin)
