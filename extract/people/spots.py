"""Where one video looks worst, as scores say it: `worst_frame`, `worst_part` and their like.

A box is a text, `x1 y1 x2 y2` in pixels of the decoded frame, so that every file of scores can hold
it; written and read here alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from extract.errors import BadSetting
from extract.people.detections import Quad

COLUMNS = ("id", "worst_frame", "worst_part", "worst_box", "worst_score")
_FAR_AWAY = 2**20
"""Pixels; no frame is so large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One part of one person in one frame."""

    frame: int
    box: Quad
    part: str
    score: float
    """How abnormal, 0 to 1."""


def box_text(box: Quad) -> str:
    return " ".join(f"{corner:.1f}" for corner in box)


def text_box(text: str) -> Quad | None:
    """None where it is no box."""
    try:
        left, top, right, bottom = (float(each) for each in text.split())
    except ValueError:
        return None
    box = (left, top, right, bottom)
    return box if all(math.isfinite(x) and abs(x) <= _FAR_AWAY for x in box) else None


def read_spots(path: Path) -> dict[str, Spot]:
    """Video → spot, of those that have one, out of a Parquet of scores."""
    try:
        table = pq.read_table(path, columns=list(COLUMNS), use_threads=False)
        table = table.cast(
            pa.schema(
                [("id", pa.string()), ("worst_frame", pa.int64()), ("worst_part", pa.string()),
                 ("worst_box", pa.string()), ("worst_score", pa.float64())]
            )
        )  # fmt: skip
    except (pa.ArrowException, OSError, KeyError) as error:
        raise BadSetting(
            f"{path} does not say where people look worst ({' '.join(str(error).split())[:120]}); "
            f"give a Parquet that `telltale score` wrote with a bundle of head anatomy."
        ) from error
    found = {row["id"]: _spot(row) for row in table.to_pylist()}
    return {name: spot for name, spot in found.items() if spot is not None}


def _spot(row: Mapping[str, Any]) -> Spot | None:
    box, frame, score = text_box(row["worst_box"] or ""), row["worst_frame"], row["worst_score"]
    if box is None or frame is None or frame < 0 or score is None or not math.isfinite(score):
        return None
    return Spot(frame=frame, box=box, part=row["worst_part"] or "", score=score)
