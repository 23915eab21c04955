"""Forgeries made of real videos, each with one thing wrong: what a detector can learn from alone.

A protocol `forged-V` shows runs of consecutive frames; view by view they are left as they are, or
forged in the ways of KINDS in turn. As in AltFreezing one region, deformation and colour change is
drawn for the whole clip, so that nothing flickers unless flickering is the fault. A view follows
from its own video alone: what AltFreezing blends in from another video comes from another stretch
of the same one here. Regions lie near the middle; nobody looks for a face.

    drop    frames are left out, the motion jumps             motion
    repeat  frames are shown twice, the motion halts          motion
    warp    a region bends to and fro                         spatial
    deform  a region is bent, the same in all frames          spatial
    colour  a region has other colours, in all frames         appearance
    blend   a region shows another moment of the video        appearance
    self    a region is a softer, moved copy of itself        appearance
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

WHOLE = ""
"""A clip that is left as it is."""
ANOMALIES: Mapping[str, str] = {
    "drop": "motion", "repeat": "motion", "warp": "spatial", "deform": "spatial",
    "colour": "appearance", "blend": "appearance", "self": "appearance",
}  # fmt: skip
"""Kind of forgery → what is wrong with it."""
KINDS = (WHOLE, *ANOMALIES)
"""Of the views, in turn."""
_MOST_CHANGED = 4
"""At most one frame in so many is left out or shown twice."""


def kind_of_view(index: int) -> str:
    """How a view of that index is forged."""
    return KINDS[index % len(KINDS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Which frames a view shows, and those that are blended in."""

    frames: tuple[int, ...]
    others: tuple[int, ...] = ()


def forged_run(kind: str, count: int, length: int, rng: np.random.Generator) -> Run:
    """A run of `length` frames, or what a shorter video of `count` frames has, somewhere in it."""
    changed = int(rng.integers(1, max(2, length // _MOST_CHANGED + 1)))
    if kind == "drop":
        changed = max(1, min(changed, count - length))
    wanted = length + {"drop": changed, "repeat": -changed}.get(kind, 0)
    taken = max(1, min(count, wanted))
    start = int(rng.integers(0, count - taken + 1))
    frames = list(range(start, start + taken))
    if kind == "drop":
        inner = rng.permutation(np.arange(1, max(1, taken - 1)))[:changed]
        frames = [frame for place, frame in enumerate(frames) if place not in inner]
    if kind == "repeat":
        twice = rng.permutation(taken)[:changed]
        frames = [frame for place, frame in enumerate(frames) for _ in range(1 + (place in twice))]
    others = _other_run(start, taken, count) if kind == "blend" else ()
    return Run(frames=tuple(frames[:length]), others=others)


def _other_run(start: int, taken: int, count: int) -> tuple[int, ...]:
    """As long, and as far away as the video allows."""
    before, after = start, count - taken - start
    other = 0 if before >= after else count - taken
    return tuple(range(other, other + taken))
