"""Who is who: persons keep their numbers from frame to frame, faces and hands find their person.

A detector may say it; where it does not, persons are followed by how much their boxes overlap, and
a face or a hand belongs to the person that most of it lies in.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from extract.people.detections import KINDS, NOBODY, Detections, Kind
from extract.people.overlap import inside, overlap

Identity = Literal["track", "rank"]
"""`rank`: a person is who comes so far in the list of its frame, as the released code has it."""
SAME = 0.3
"""Overlap of a person in two frames that makes it the same one."""
LONGEST_GAP = 30
"""Frames for which a person may be out of sight."""
HOLDS = 0.5
"""Share of a face or a hand that lies in its person."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """One person in one frame."""

    number: int
    parts: Detections
    """Its own box, where there is one, its faces and hands."""

    @property
    def score(self) -> float:
        own = self.parts.of("person")
        return float((own if len(own) else self.parts).scores_n.max(initial=0))

    def best(self, kind: Kind, count: int) -> Detections:
        """The so many boxes of a kind with the highest scores."""
        found = self.parts.of(kind)
        chosen = np.zeros(len(found), bool)
        chosen[np.argsort(-found.scores_n, kind="stable")[:count]] = True
        return found.where(chosen)


def persons_of(found: Detections, identity: Identity = "track") -> Detections:
    """The same boxes, all of them with a person."""
    numbers = _ranked(found) if identity == "rank" else _followed(found)
    linked = replace(found, persons_n=numbers)
    return replace(linked, persons_n=_linked(linked))


def persons_at(found: Detections, frame: int) -> list[Person]:
    """Who is in a frame, the surest first."""
    here = found.at(frame)
    numbers = list(dict.fromkeys(here.persons_n.tolist()))
    persons = [Person(number=number, parts=here.of_person(number)) for number in numbers]
    return sorted(persons, key=lambda one: -one.score)


def _persons(found: Detections) -> NDArray[np.bool_]:
    return np.asarray(found.kinds_n == KINDS.index("person"))


def _frames(found: Detections) -> Iterator[NDArray[np.intp]]:
    """Rows of each frame."""
    for frame in np.unique(found.frames_n):
        yield np.flatnonzero(found.frames_n == frame)


def _ranked(found: Detections) -> NDArray[np.int32]:
    """Persons by their place in the frame; faces and hands keep what the detector says."""
    numbers = found.persons_n.copy()
    person = _persons(found)
    for rows in _frames(found):
        own, others = rows[person[rows]], rows[~person[rows]]
        before = found.persons_n[own].tolist()
        numbers[own] = np.arange(len(own))
        for row in others:
            said = int(found.persons_n[row])
            numbers[row] = before.index(said) if said != NOBODY and said in before else NOBODY
    return numbers


def _followed(found: Detections) -> NDArray[np.int32]:
    """Persons without a number get that of the track they go on with, or a new one."""
    numbers = found.persons_n.copy()
    person = _persons(found)
    new = int(numbers.max(initial=NOBODY)) + 1
    tracks: dict[int, tuple[int, NDArray[np.float32]]] = {}
    for rows in _frames(found):
        frame = int(found.frames_n[rows[0]])
        own = rows[person[rows] & (numbers[rows] == NOBODY)]
        open_ = [n for n, (last, _) in tracks.items() if frame - last <= LONGEST_GAP]
        boxes = np.array([tracks[n][1] for n in open_], np.float32).reshape(-1, 4)
        for row, place in _pairs(overlap(found.boxes_n4[own], boxes)):
            numbers[own[row]] = open_[place]
        for row in own:
            if numbers[row] == NOBODY:
                numbers[row], new = new, new + 1
            tracks[int(numbers[row])] = (frame, found.boxes_n4[row])
    return numbers


def _pairs(overlaps: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """The most alike first, each at most once."""
    left = overlaps.copy()
    while left.size and left.max() >= SAME:
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        yield int(row), int(column)
        left[row], left[:, column] = -1, -1


def _linked(found: Detections) -> NDArray[np.int32]:
    """Faces and hands without a person get the one that holds them, else one of their own."""
    numbers = found.persons_n.copy()
    person = _persons(found)
    new = int(numbers.max(initial=NOBODY)) + 1
    for rows in _frames(found):
        own = rows[person[rows]]
        for row in rows[~person[rows] & (numbers[rows] == NOBODY)]:
            held = inside(found.boxes_n4[[row]], found.boxes_n4[own])[0]
            if len(held) and held.max() >= HOLDS:
                numbers[row] = numbers[own[int(held.argmax())]]
            else:
                numbers[row], new = new, new + 1
    return numbers
