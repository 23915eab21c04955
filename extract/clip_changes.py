"""Changes of a training clip in time, as AltFreezing makes them: a frame is dropped, or repeated.

`train-8:drop0.3:repeat0.3` drops a frame of 30% of the views, so that the motion jumps, and
repeats one in 30%, so that it halts. Frame numbers change, pixels do not, and depth features
follow the changed clip. A video keeps its label and its rank: on real videos such a clip shows
the very thing that a motion anomaly is, so choose small shares.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from extract.errors import BadProtocol

Kind = Literal["drop", "repeat"]
FORM = r"(?::(?:drop|repeat)[0-9.]+)*"
"""Of all changes in a protocol's name."""
_CHANGE = re.compile(r"(drop|repeat)([0-9.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipChange:
    """One kind of change, and how often."""

    kind: str
    """drop or repeat."""
    share: float
    """Of the views."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or not 0 < self.share <= 1:
            raise BadProtocol(
                f"Clip change {self.kind}{self.share:g}: give drop or repeat, and a share above 0 "
                f"up to 1, such as drop0.3."
            )

    @property
    def name(self) -> str:
        return f":{self.kind}{self.share:g}"


def parse_changes(text: str) -> tuple[ClipChange, ...]:
    """`:drop0.3:repeat0.1`, each kind at most once, in this order."""
    changes = []
    for part in text.split(":")[1:]:
        found = _CHANGE.fullmatch(part)
        try:
            changes.append(ClipChange(kind=found[1], share=float(found[2])))  # type: ignore[index]
        except (TypeError, ValueError) as error:
            raise BadProtocol(f"Clip change {part!r}: give dropSHARE or repeatSHARE.") from error
    if [change.kind for change in changes] not in ([], ["drop"], ["repeat"], ["drop", "repeat"]):
        raise BadProtocol(f"Clip changes {text!r}: give drop, repeat, or drop and then repeat.")
    return tuple(changes)


def changed_frames(
    changes: Sequence[ClipChange],
    clip: int,
    draw: Callable[[int], Sequence[int]],
    rng: np.random.Generator,
) -> tuple[int, ...]:
    """A clip of `clip` frame numbers; `draw(n)` takes n frames, spread over the whole video."""
    chosen = [change.kind for change in changes if rng.random() < change.share]
    frames = list(draw(clip + chosen.count("drop") - chosen.count("repeat")))
    if "drop" in chosen:
        del frames[int(rng.integers(1, len(frames) - 1))]
    if "repeat" in chosen:
        place = int(rng.integers(len(frames)))
        frames.insert(place, frames[place])
    return tuple(frames)
