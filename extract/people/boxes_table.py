"""Boxes as rows of a table, and back: a row per box, and one per frame that was looked at.

See `boxes_file` for the columns. A row of kind `frame` has the whole frame as its box.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extract.errors import VideoError
from extract.people.detections import (
    FACE_POINTS,
    KINDS,
    NOBODY,
    Canvas,
    Detections,
)

FRAME = "frame"
"""The kind of a row that says: somebody looked here."""
CORNERS = ("x1", "y1", "x2", "y2")
SCHEMA = pa.schema(
    [
        ("video", pa.string()),
        ("frame", pa.int32()),
        ("kind", pa.string()),
        *((corner, pa.float32()) for corner in CORNERS),
        ("score", pa.float32()),
        ("person", pa.int32()),
        ("points", pa.list_(pa.float32())),
    ]
)


def boxes_table(videos: Mapping[str, Detections]) -> pa.Table:
    """The rows of these videos."""
    parts = [_rows(video, found) for video, found in videos.items()]
    return pa.concat_tables(parts) if parts else SCHEMA.empty_table()


def _rows(video: str, found: Detections) -> pa.Table:
    count = len(found)
    names = np.array(KINDS, object)
    points = [None if np.isnan(p).all() else p.reshape(-1).tolist() for p in found.points_n52]
    columns: dict[str, Any] = {
        "video": [video] * count,
        "frame": found.frames_n,
        "kind": names[found.kinds_n],
        **{name: found.boxes_n4[:, place] for place, name in enumerate(CORNERS)},
        "score": found.scores_n,
        "person": found.persons_n,
        "points": points,
    }
    boxes = pa.table(columns, schema=SCHEMA)
    if found.canvas is None:
        return boxes
    canvas = found.canvas
    looked = len(canvas.frames)
    frames = {
        "video": [video] * looked,
        "frame": canvas.frames,
        "kind": [FRAME] * looked,
        "x1": [0.0] * looked,
        "y1": [0.0] * looked,
        "x2": [float(canvas.width)] * looked,
        "y2": [float(canvas.height)] * looked,
        "score": [1.0] * looked,
        "person": [NOBODY] * looked,
        "points": [None] * looked,
    }
    return pa.concat_tables([boxes, pa.table(frames, schema=SCHEMA)])


def detections_of(rows: pa.Table) -> Detections:
    kinds = np.array(rows["kind"].to_pylist(), object)
    frames, boxes = _numbers(rows, "frame"), _corners(rows)
    looked = kinds == FRAME
    canvas = _canvas(frames[looked], boxes[looked])
    chosen = np.flatnonzero(~looked)
    chosen = chosen[np.argsort(frames[chosen], kind="stable")]
    unknown = sorted({str(kind) for kind in kinds[chosen]} - set(KINDS))
    if unknown:
        raise VideoError(f"boxes of kind {', '.join(unknown[:3])}; have: {', '.join(KINDS)}")
    found = Detections(
        frames_n=frames[chosen].astype(np.int32),
        kinds_n=np.array([KINDS.index(kind) for kind in kinds[chosen]], np.uint8),
        boxes_n4=boxes[chosen],
        scores_n=_numbers(rows, "score")[chosen].astype(np.float32),
        persons_n=_numbers(rows, "person")[chosen].astype(np.int32),
        points_n52=_points(rows["points"].to_pylist(), chosen),
        canvas=canvas,
    )
    found.check()
    return found


def _numbers(rows: pa.Table, name: str) -> NDArray[Any]:
    return np.asarray(rows[name].to_numpy())


def _corners(rows: pa.Table) -> NDArray[np.float32]:
    return np.stack([_numbers(rows, name).astype(np.float32) for name in CORNERS], 1)


def _canvas(frames: NDArray[Any], boxes: NDArray[np.float32]) -> Canvas | None:
    if not len(frames):
        return None
    if not np.isfinite(boxes).all() or (boxes != boxes[0]).any() or (boxes[0, :2] != 0).any():
        raise VideoError("its frames (rows of kind 'frame') are not all of one size")
    width, height = (int(side) for side in boxes[0, 2:])
    return Canvas(frames=tuple(sorted({int(n) for n in frames})), width=width, height=height)


def _points(points: Sequence[Sequence[float] | None], chosen: NDArray[Any]) -> NDArray[np.float32]:
    found = np.full((len(chosen), FACE_POINTS, 2), np.nan, np.float32)
    for row, place in enumerate(chosen):
        numbers = points[place]
        if not numbers:
            continue
        if len(numbers) != 2 * FACE_POINTS:
            raise VideoError(f"a face has {len(numbers)} numbers as points; {2 * FACE_POINTS} make")
        found[row] = np.reshape(numbers, (FACE_POINTS, 2))
    return found
