"""The true boxes of a made-up data set, as if a detector without mistakes had found them."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from extract.errors import BadSetting, VideoError
from extract.people.detections import (
    Canvas,
    Detections,
    DetectorIdentity,
    Found,
    Kind,
    detections,
)  # fmt: skip
from extract.synthesis.clip import Clip, ClipPlan
from extract.synthesis.data_set import SyntheticOptions, plan_data_set
from extract.synthesis.truth import Box, truth
from features_store.outputs import RECORD, Record

NAME = "made-up"


class TrueBoxes:
    """Of every `every`-th frame. The one person is number 0."""

    def __init__(self, options: SyntheticOptions, every: int = 1) -> None:
        self._every = every
        self._plans = {Path(video.file).name: video.clip for video in plan_data_set(options)}
        own = {k: v for k, v in asdict(options).items() if k != "threads"}
        self.identity = DetectorIdentity(name=NAME, settings={**own, "every": every})

    def boxes_of(self, video: str, path: str) -> Detections:
        del path
        plan = self._plans.get(Path(video).name)
        if plan is None:
            raise VideoError("no clip of this data set has its name")
        return clip_boxes(plan, self._every)


def true_boxes(folder: Path, every: int = 1) -> TrueBoxes:
    """Of a folder that `telltale synth` made; how it was made it says itself."""
    record = Record.read(folder / RECORD)
    if record is None or record.command != "synth":
        raise BadSetting(f"{folder} is no folder that `telltale synth` made; name one for made-up.")
    try:
        options = SyntheticOptions(**record.made_from)
    except TypeError as error:
        raise BadSetting(f"{folder} was made by another version; make it again.") from error
    return TrueBoxes(options, every)


def clip_boxes(plan: ClipPlan, every: int = 1) -> Detections:
    """What is seen of the person, its face and its hands."""
    clip = Clip(plan)
    looked = tuple(range(0, plan.frames, every))
    found = [one for number in looked for one in _frame(clip, number)]
    return detections(found, Canvas(frames=looked, width=plan.width, height=plan.height))


def _frame(clip: Clip, number: int) -> Iterator[Found]:
    there = truth(clip, number)
    boxes: tuple[tuple[Kind, Box | None], ...] = (
        ("person", there.person), ("face", there.face), *(("hand", hand) for hand in there.hands),
    )  # fmt: skip
    for kind, box in boxes:
        if box is not None:
            corners = tuple(map(float, (box.left, box.top, box.right, box.bottom)))
            yield Found(frame=number, kind=kind, box=corners, person=0)  # type: ignore[arg-type]
