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

    @staticmethod
    def of(row: Mapping[str, Any]) -> "Spot | None":
        """Of a row of scores; None where it knows of no spot, or what it calls one is none."""
        box, frame, score = (row.get(f"worst_{name}") for name in ("box", "frame", "score"))
        corners = _quad(box or "")
        if corners is None or frame is None or score is None:
            return None
        if not (frame >= 0 and math.isfinite(score)):
            return None
        return Spot(frame=int(frame), box=corners, part=row.get("worst_part") or "", score=score)


def box_text(box: Quad) -> str:
    return " ".join(f"{corner:.1f}" for corner in box)


def _quad(text: str) -> Quad | None:
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
    found = {row["id"]: Spot.of(row) for row in table.to_pylist()}
    return {name: spot for name, spot in found.items() if spot is not None}
