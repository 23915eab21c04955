"""Compared detectors: what each said of the same videos, what it cost, and where it stands.

A detector with random weights is marked and never ranked: its figures show that it runs. Nor is it
what others are tested against.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heads.comparing.layout import Layout, best_auc
from heads.detectors.recipe import Published
from heads.errors import BadSetting
from heads.judging.floors import Floors, RealsApart
from heads.measuring.metrics import Floats

RANDOM, MADE_UP = "random weights", "made-up people"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a detector, as far as it is known."""

    cached: int
    """Bytes of a video's features that it reads."""
    learning: float
    """Seconds in which a seed learnt, on average."""
    judging: float
    """Seconds of the head for a video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One detector."""

    name: str
    title: str
    head: str
    protocol: str
    """Of the views that were judged."""
    runs: Sequence[Floats] = field(repr=False)
    """(videos, classes), a seed each."""
    marks: Sequence[str] = ()
    """`RANDOM` or `MADE_UP`, where it is so."""
    published: Sequence[Published] = ()
    cost: Cost
    reals: RealsApart | None = None
    """How far its p(real) tells one real source from the others."""

    @property
    def random(self) -> bool:
        return RANDOM in self.marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The videos that every compared detector has."""

    ids: Sequence[str] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    sources: Sequence[str] = field(repr=False)
    classes: tuple[str, ...]
    learnt: int
    """Videos that all learnt from."""
    decided: int
    split: str
    """`test`, or `validation` where the store has no test videos: they chose the epochs too."""
    lacking: Mapping[str, int]
    """Detector → judged videos that were left out since it has none of their features or no
    result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All of it."""

    entries: Sequence[Entry]
    judged: Judged
    against: str
    """The row that others are tested against."""
    floors: Floors
    missing: Mapping[str, str]
    """Detector that could not run → what is missing, and what to do."""
    layouts: Sequence[Layout] = field(repr=False)
    """The tables."""

    def __post_init__(self) -> None:
        names = [one.name for one in self.entries]
        if self.against not in names:
            have = ", ".join(names)
            raise BadSetting(f"--against {self.against}: not among what could run; have: {have}.")
        if self.entry(self.against).random and not all(one.random for one in self.entries):
            raise BadSetting(
                f"{self.against} has random weights: nothing is tested against it. Give --against "
                f"another detector."
            )

    def entry(self, name: str) -> Entry:
        return next(one for one in self.entries if one.name == name)

    def ranks(self, layout: Layout) -> dict[str, int]:
        """Row → its place by mean AUC; none of random weights, nor without an AUC."""
        found = {one.name: best_auc(layout, one.name) for one in self.entries if not one.random}
        known = [name for name, auc in found.items() if not math.isnan(auc)]
        return {name: 1 + sum(found[other] > found[name] for other in known) for name in known}
