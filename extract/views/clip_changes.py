"""Changes of a training clip as AltFreezing makes them: a frame dropped or repeated, a blend.

`train-8:drop0.3:repeat0.3:blend0.1` drops a frame of 30% of the views, so that the motion jumps,
repeats one in 30%, so that it halts, and blends 10% with a changed copy of themselves (see
`blend.py`). Depth features follow the changed clip. A video keeps its label and its rank: on
real videos such a clip shows the very thing that an anomaly is, so choose small shares.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from extract.errors import BadProtocol

KINDS = ("drop", "repeat", "blend")
FORM = rf"(?::(?:{'|'.join(KINDS)})[0-9.]+)*"
"""Of all changes in a protocol's name."""
_CHANGE = re.compile(rf"({'|'.join(KINDS)})([0-9.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipChange:
    """One kind of change, and how often."""

    kind: str
    """drop, repeat or blend."""
    share: float
    """Of the views."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not 0 < self.share <= 1:
            raise BadProtocol(
                f"Clip change {self.kind}{self.share:g}: give {', '.join(KINDS)}, and a share "
                f"above 0 up to 1, such as drop0.3."
            )

    @property
    def name(self) -> str:
        return f":{self.kind}{self.share:g}"


def parse_changes(text: str) -> tuple[ClipChange, ...]:
    """`:drop0.3:repeat0.1:blend0.1`, each kind at most once, in this order."""
    changes = []
    for part in text.split(":")[1:]:
        found = _CHANGE.fullmatch(part)
        try:
            changes.append(ClipChange(kind=found[1], share=float(found[2])))  # type: ignore[index]
        except (TypeError, ValueError) as error:
            raise BadProtocol(
                f"Clip change {part!r}: give dropSHARE, repeatSHARE or blendSHARE."
            ) from error
    places = [KINDS.index(change.kind) for change in changes]
    if places != sorted(set(places)):
        raise BadProtocol(
            f"Clip changes {text!r}: give each once, in the order {', '.join(KINDS)}."
        )
    return tuple(changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What a training view looks at."""

    frames: tuple[int, ...]
    blended: bool = False
    others: tuple[int, ...] = ()
    """Frames of which a forgery takes something."""


def changed_clip(
    changes: Sequence[ClipChange],
    clip: int,
    draw: Callable[[int], Sequence[int]],
    rng: np.random.Generator,
) -> Clip:
    """A clip of `clip` frame numbers; `draw(n)` takes n frames, spread over the whole video."""
    chosen = [change.kind for change in changes if rng.random() < change.share]
    frames = list(draw(clip + chosen.count("drop") - chosen.count("repeat")))
    if "drop" in chosen:
        del frames[int(rng.integers(1, len(frames) - 1))]
    if "repeat" in chosen:
        place = int(rng.integers(len(frames)))
        frames.insert(place, frames[place])
    return Clip(frames=tuple(frames), blended="blend" in chosen)
