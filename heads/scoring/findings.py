"""What a head `anatomy` finds in one video: every part of every person in every frame, and which of
them is the worst of each video of a store.

Legend: v views, f frames, p persons, k parts of a person.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extract.people.detections import Quad
from extract.people.spots import box_text
from extract.views.protocol import Protocol
from features_store.store import Store
from features_store.table import Table
from heads.head import Head
from heads.parts.part_probes import PARTS
from heads.parts.person_verdicts import doubt
from heads.scoring.rows import WORST_PART
from heads.zoo.anatomy import Anatomy

_AT_ONCE = 256
"""Videos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One part of one person in one frame."""

    frame: int
    seconds: float
    person: int
    part: str
    box: Quad
    score: float
    """How abnormal, 0 to 1."""
    limit: float
    doubt: float
    """How far the score is above the limit, in logits."""

    @property
    def is_wrong(self) -> bool:
        return self.score > self.limit

    @property
    def said(self) -> str:
        relation = "above" if self.is_wrong else "within"
        return (
            f"frame {self.frame} ({self.seconds:.2f} s), person {self.person}: {self.part} "
            f"{self.score:.3f}, {relation} {self.limit:.3f}"
        )


def findings(
    head: Anatomy, table: Table, boxes_vfpk5: NDArray[np.float32], frames: Sequence[Sequence[int]],
    fps: float,
) -> list[Finding]:  # fmt: skip
    """Of a table of one video, the worst first; `frames` are the views' frame numbers."""
    scores, there = (numbers[0] for numbers in head.scores(table))
    persons = np.asarray(table.arrays[head.keys[1]])[0]
    limits = head.config.thresholds
    doubts = doubt(scores, there, limits)
    found = []
    for place in zip(*np.nonzero(there), strict=True):
        view, position, _, part = (int(index) for index in place)
        left, top, right, bottom = map(float, boxes_vfpk5[place][:4])
        number = frames[view][position]
        found.append(
            Finding(
                frame=number, seconds=number / fps if fps else 0.0, person=int(persons[place]),
                part=PARTS[part], box=(left, top, right, bottom), score=float(scores[place]),
                limit=limits[part], doubt=float(doubts[place]),
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.doubt, one.frame))


def with_worst_part(
    block: pa.Table, head: Head, store: Store, protocol: str, wanted: NDArray[np.int64]
) -> pa.Table:
    """Rows of a store's videos with what looks worst in each; the very same rows for other heads.
    Nothing where there is nobody, or where it is not known which frames were looked at."""
    if not isinstance(head, Anatomy):
        return block
    rows: list[dict[str, object]] = [{} for _ in range(len(wanted))]
    for row, found in _worst(head, store, protocol, wanted):
        rows[int(np.searchsorted(wanted, row))] = {
            "worst_frame": found.frame, "worst_part": found.part, "worst_person": found.person,
            "worst_box": box_text(found.box),
            "worst_score": found.score,
        }  # fmt: skip
    for field in WORST_PART:
        column = pa.array([row.get(field.name) for row in rows], field.type)
        block = block.append_column(field, column)
    return block


def _worst(
    head: Anatomy, store: Store, protocol: str, wanted: NDArray[np.int64]
) -> Iterator[tuple[int, Finding]]:
    """Row → the worst finding in it."""
    looks = Protocol.parse(protocol)
    status = np.minimum.reduce([store.find(protocol, k)[0].status(wanted) == 1 for k in head.keys])
    if looks.is_drawn or not status.any():
        return
    mask = np.zeros(store.videos.count, bool)
    mask[wanted[status]] = True
    if "boxes" not in store.find(protocol, head.keys[0])[0].spec.arrays:
        return
    boxes = f"{head.config.branch}/boxes"
    column = store.videos.column
    for table in store.stream([*head.keys, boxes], protocol=protocol, where=mask, batch=_AT_ONCE):
        for place, row in enumerate(table.rows.tolist()):
            count, fps = int(column("frames")[row]), float(column("fps")[row])
            if count < 1:
                continue
            views = looks.views(str(table.ids[place]), count, fps=fps)
            one = table.take(np.array([place]))
            numbers = [view.frames for view in views]
            for found in findings(head, one, one.arrays[boxes][0], numbers, fps)[:1]:
                yield row, found
