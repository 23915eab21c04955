"""Made-up people with planted defects, and their parts as the anatomy networks look at them.

Drawn directly and not encoded, close-ups. A crop is wrong if it shows at least half of a defect of
its part, and of what makes it one (the arm beside a third arm); frames in which a defect is hidden
further are drawn anew, and a hand beside one that is wrong, which its crop shows too, is left out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

from extract.networks.simmim import PATCH
from extract.people.crops import BIG, SMALL, Square, crop_look, crop_picture, square_around
from extract.people.detections import Kind, Quad
from extract.synthesis.clip import Clip, ClipPlan, Drawing
from extract.synthesis.data_set import Generator
from extract.synthesis.defects import DEFECTS, Defect, DefectKind, planted, seen_of, share_seen
from extract.synthesis.shapes import PARTS, stamp
from extract.synthesis.truth import OBJECT, parts_of
from extract.views.looks import Look

PART_OF: Mapping[DefectKind, Kind] = {"face": "face", "hand": "hand", "body": "person"}
"""Which network should find a defect."""
LEAST = 14
"""Pixels of the smallest part that is looked at."""
SHOWN = 0.5
"""How much of a defect a crop shows that is wrong."""
A_LITTLE = 0.05
"""How much of another hand's defect a hand's crop may show."""
PART_OF_A_PATCH = 0.1
"""How much of a patch a defect fills that it shows."""
TRIES = 6
"""Frames of a clip in which defects are tried."""
_AT_A_TIME = 20
"""Seeds for one worker."""
_PARTS: tuple[tuple[Kind, str], ...] = (
    ("person", "person"), ("face", "face"), ("hand", "left hand"), ("hand", "right hand"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """One part of one person."""

    kind: Kind
    box: Quad
    pixels: NDArray[np.uint8]
    wrong: bool
    where: NDArray[np.bool_]
    """Which of the patches that the network makes of it show the defect, by rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture, what is wrong in it, its parts."""

    defects: tuple[Defect, ...]
    crops: tuple[Crop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """How frames are made."""

    generators: tuple[Generator, ...]
    image: int
    """Pixels of a crop's side."""
    twins: bool
    """To learn from: two frames that differ in one defect, others in both with one half each; of
    the second one the crops of that part alone, since the others are the first one's. Else a frame
    where one defect could be seen, with it or without."""


def frames(how: Drawn, wanted: int, first: int, pool: Executor | None = None) -> list[Frame]:
    """So many that show what they should, by seeds from `first` on; the same with any workers."""
    made = partial(_some, how)
    found: list[Frame] = []
    starts = count(first, _AT_A_TIME)
    while len(found) < wanted:
        lacking = (wanted - len(found)) / (_AT_A_TIME * (2 if how.twins else 1))
        now = [next(starts) for _ in range(math.ceil(lacking))]
        parts = map(made, now) if pool is None else pool.map(made, now)
        found += chain.from_iterable(parts)
    return found[:wanted]


def _some(how: Drawn, first: int) -> list[Frame]:
    return [one for seed in range(first, first + _AT_A_TIME) for one in frame(how, seed)]


def frame(how: Drawn, seed: int) -> list[Frame]:
    """Drawn from its seed, by the generators in turn; none where its defect would not be seen."""
    rng = np.random.default_rng((seed, 77))
    clip = Clip(plan_of(how.generators[seed % len(how.generators)], seed))
    kind = DEFECTS[int(rng.integers(len(DEFECTS)))]
    others = [one for one in DEFECTS if one != kind and how.twins and rng.random() < 0.5]
    for _ in range(TRIES):
        drawing = clip.drawing(int(rng.integers(clip.plan.frames)))
        fine = _with_defects(clip, (drawing, ()), others, rng)
        wrong = _with_defects(clip, fine, [kind], rng)
        if wrong is not fine:
            look = crop_look(how.image)
            if not how.twins:
                return [_frame(clip, wrong if rng.random() < 0.5 else fine, look)]
            return [_frame(clip, wrong, look), _frame(clip, fine, look, only=kind)]
    return []


Planted = tuple[Drawing, tuple[Defect, ...]]
"""A drawing and its defects."""


def _with_defects(
    clip: Clip, before: Planted, kinds: Sequence[DefectKind], rng: np.random.Generator
) -> Planted:
    """With those that are seen beside the ones that it has."""
    for kind in kinds:
        found = planted(before[0], kind, rng)
        if found is None:
            continue
        drawing, together = found[0], (*before[1], found[1])
        places = list(_places(clip, drawing))
        if all(any(_is_own(p, one) and _shows(clip, drawing, one, p) >= SHOWN for p in places)
               for one in together):  # fmt: skip
            before = drawing, together
    return before


def plan_of(generator: Generator, seed: int) -> ClipPlan:
    return ClipPlan(
        width=generator.width, height=generator.height, frames=generator.frames,
        fps=generator.fps, tint=generator.tint, grain=generator.grain, label="real",
        severity=0.5, seed=seed, shot="close",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a part is looked at."""

    kind: Kind
    part: str
    box: Quad
    square: Square


def _places(clip: Clip, drawing: Drawing) -> Iterator[_Place]:
    height, width = clip.plan.height, clip.plan.width
    parts_hw = parts_of(clip, drawing, stamp(drawing.shapes, (height, width)))
    for kind, part in _PARTS:
        mask_hw = parts_hw > OBJECT if kind == "person" else parts_hw == PARTS.index(part)
        rows, columns = np.nonzero(mask_hw)
        if not len(rows):
            continue
        corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        left, top, right, bottom = map(float, corners)
        box = (left, top, right, bottom)
        square = square_around(box, width, height)
        if square is not None and min(right - left, bottom - top) >= LEAST:
            yield _Place(kind=kind, part=part, box=box, square=square)


def _frame(clip: Clip, made: Planted, look: Look, only: DefectKind | None = None) -> Frame:
    """With its crops, or those of the part alone that has defects of a kind."""
    drawing, defects = made
    image = clip.paint(drawing)
    places = [p for p in _places(clip, drawing) if only is None or p.kind == PART_OF[only]]
    crops = []
    for place in places:
        own = [one for one in defects if _is_own(place, one)]
        alike = [one for one in defects if PART_OF[one.kind] == place.kind and one not in own]
        if all(_shows(clip, drawing, one, place) <= A_LITTLE for one in alike):
            wrong = [one for one in own if _shows(clip, drawing, one, place) >= SHOWN]
            pixels = crop_picture(image, place.square, look).copy()
            where = _where(clip, drawing, wrong, place, look)
            crops.append(Crop(kind=place.kind, box=place.box, pixels=pixels, wrong=bool(wrong),
                              where=where))  # fmt: skip
    return Frame(defects=defects, crops=tuple(crops))


def _where(
    clip: Clip, drawing: Drawing, wrong: Sequence[Defect], place: _Place, look: Look
) -> NDArray[np.bool_]:
    side = look.height // PATCH
    if not wrong:
        return np.zeros((side, side), bool)
    names = {name for one in wrong for name in one.wrong}
    seen_hw = seen_of(drawing, names, (clip.plan.height, clip.plan.width))
    picture = np.repeat(seen_hw[..., None].astype(np.uint8) * 255, 3, -1)
    shown_hw = crop_picture(picture, place.square, look)[..., 0]
    patches = shown_hw.reshape(side, PATCH, side, PATCH).mean((1, 3))
    return np.asarray(patches > 255 * PART_OF_A_PATCH, bool)


def _is_own(place: _Place, defect: Defect) -> bool:
    """Whether that part is what a defect is a defect of."""
    if PART_OF[defect.kind] != place.kind:
        return False
    return place.kind != "hand" or defect.part == place.part


def _shows(clip: Clip, drawing: Drawing, defect: Defect, place: _Place) -> float:
    """How much of a defect the network sees of a crop: it cuts the crop's margin off."""
    square, size = place.square, (clip.plan.height, clip.plan.width)
    off = (square.right - square.left) * (1 - SMALL / BIG) / 2
    window = (square.left + off, square.top + off, square.right - off, square.bottom - off)
    seen = share_seen(drawing, defect.wrong, size, window)
    if seen < SHOWN or not defect.beside:
        return seen
    return min(seen, share_seen(drawing, defect.beside, size, window))


def lies_on(box: Quad, defect: Defect) -> bool:
    """Whether a box holds the middle of a defect."""
    left, top, right, bottom = defect.box
    x, y = (left + right) / 2, (top + bottom) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
