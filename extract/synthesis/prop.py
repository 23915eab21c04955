"""The object beside a made-up person: a pillar at their side or a beam across them.

It stands in front of the person or behind them, and its foot on the floor says which: nearer
things stand lower in the picture. It is drawn in columns, each with a depth of its own, so that a
fault can put some of them on the wrong side.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from extract.synthesis.look import Look, random_colour
from extract.synthesis.person import FARTHEST, NEAREST
from extract.synthesis.shapes import Colour, Point, Shape, scaled

_COLUMN = 0.045
"""Width of a column, in heights of the person."""
_NEAR, _FAR = NEAREST - 0.2, FARTHEST + 0.2
_BANDS = ((0, 0.14, 1.15), (0.14, 0.7, 0.88), (0.7, 0.84, 0.55), (0.84, 1, 0.8))
"""Of a column from top to bottom: start, end, light."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prop:
    """Sizes in pixels; x and y are the middle of its foot in the backdrop."""

    kind: Literal["pillar", "beam"]
    front: bool
    """Whether it stands in front of the person."""
    x: float
    y: float
    width: float
    height: float
    thickness: float
    """Of the beam."""
    colour: Colour
    unit: float
    """The person's height."""
    right: bool
    """Whether it stands to the person's right in the picture."""

    def shapes(self, offset: Point, wrong: Callable[[float], bool]) -> list[Shape]:
        """`wrong` says of a column, by its middle's distance from the object's middle in heights
        of the person, whether it is on the wrong side of the person."""
        left, bottom = self.x - self.width / 2 - offset[0], self.y - offset[1]
        top = bottom - self.height
        low = bottom if self.kind == "pillar" else top + self.thickness
        shapes: list[Shape] = []
        for start, stop, wrongly in self._runs(wrong):
            box = (left + self.width * start, top, left + self.width * stop, low)
            shapes += self._column((start, stop), box, _NEAR if self.front != wrongly else _FAR)
        if self.kind == "beam":
            shapes += self._posts(left, low, bottom)
        return shapes

    @property
    def hides(self) -> int | None:
        """The side, 0 left or 1 right, whose limbs it may hide."""
        if self.kind == "beam" or not self.front:
            return None
        return 1 if self.right else 0

    def _runs(self, wrong: Callable[[float], bool]) -> Iterator[tuple[float, float, bool]]:
        """Columns that are drawn as one: a pillar's are lit differently, a beam's are all alike."""
        count = max(4, round(self.width / (_COLUMN * self.unit)))
        sides = [
            wrong(((number + 0.5) / count - 0.5) * self.width / self.unit)
            for number in range(count)
        ]
        start = 0
        for number in range(1, count + 1):
            last = number == count
            if last or self.kind == "pillar" or sides[number] != sides[start]:
                yield start / count, number / count, sides[start]
                start = number

    def _column(
        self, part: tuple[float, float], box: tuple[float, float, float, float], depth: float
    ) -> Iterator[Shape]:
        x0, top, x1, low = box
        across = part[0] + part[1] - 1
        light = 0.62 + 0.38 * math.cos((across + 0.35) * 1.4) if self.kind == "pillar" else 1.0
        for band, (start, stop, factor) in enumerate(_BANDS):
            yield Shape(
                kind="box", name=f"object {part[0]:.3f}/{band}", part="object", depth=depth,
                colour=scaled(self.colour, light * factor),
                points=((x0, top + (low - top) * start), (x1, top + (low - top) * stop)),
            )  # fmt: skip

    def _posts(self, left: float, top: float, bottom: float) -> Iterator[Shape]:
        wide = self.width * 0.07
        for word, x in (("left", left + wide), ("right", left + self.width - 2 * wide)):
            yield Shape(
                kind="box", name=f"{word} post", part="object",
                depth=_NEAR if self.front else _FAR, colour=scaled(self.colour, 0.6),
                points=((x, top), (x + wide, bottom)),
            )  # fmt: skip


def random_prop(person: float, foot: Point, look: Look, rng: np.random.Generator) -> Prop:
    """One that overlaps limbs of a person of that height, whatever they do, in a colour that is
    told from what they wear."""
    front = bool(rng.random() < 0.5)
    y = foot[1] + person * (rng.uniform(0.035, 0.06) if front else rng.uniform(-0.1, -0.07))
    side = 1 if rng.random() < 0.5 else -1
    colours = [random_colour(rng, float(rng.uniform(0.6, 1.0))) for _ in range(6)]
    colour = max(colours, key=lambda one: _contrast(one, look))
    if rng.random() < 0.5:
        return Prop(
            kind="pillar", front=front, colour=colour,
            x=foot[0] + side * person * rng.uniform(0.1, 0.17), y=y,
            width=person * rng.uniform(0.2, 0.26), height=person * rng.uniform(0.6, 0.85),
            thickness=0.0, unit=person, right=side > 0,
        )  # fmt: skip
    return Prop(
        kind="beam", front=front, colour=colour, x=foot[0] + side * person * rng.uniform(0, 0.1),
        y=y, width=person * rng.uniform(0.75, 0.95),
        height=y - foot[1] + person * rng.uniform(0.5, 0.68),
        thickness=person * rng.uniform(0.13, 0.17), unit=person, right=side > 0,
    )  # fmt: skip


def _contrast(colour: Colour, look: Look) -> float:
    worn = np.array([look.shirt, look.trousers, look.skin], float)
    return float(np.abs(worn - np.array(colour, float)).sum(1).min())
