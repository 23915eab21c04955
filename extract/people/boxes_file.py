"""The file of boxes: one Parquet, or JSON of the same meaning, for any number of videos.

A row is a box: `video` (its id), `frame`, `kind` (person, face, hand), `x1`, `y1`, `x2`, `y2`,
`score`, and where they are known `person` and `points` (ten numbers: x and y of a face's five).
A row of kind `frame` says that somebody looked at that frame; its box is the whole frame. A video
with such rows and no others has nobody in it; a video without any row is not in the file. Who
made the boxes is in the schema's metadata.

As JSON: {"detector": {"name", "weights", "settings"}, "videos": {ID: [row, …]}}, rows without
`video`, with `box` for the four corners.
"""

import hashlib
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from extract.errors import BadBoxes, VideoError
from extract.people.boxes_table import CORNERS, SCHEMA, detections_of
from extract.people.detections import NOBODY, Detections, DetectorIdentity

FORMAT = 1
_OPTIONAL = {"person": NOBODY, "points": None}
_ABOUT = b"telltale.people"
_UNKNOWN = DetectorIdentity(name="unknown")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoxesFile:
    """A file's boxes, by video."""

    path: Path
    hash: str
    """Of its content."""
    detector: DetectorIdentity
    table: pa.Table
    """In order of videos, and as they are in the file inside of one."""
    rows: Mapping[str, tuple[int, int]]
    """Video → where its rows begin and how many they are."""

    @property
    def decides(self) -> dict[str, Any]:
        """What stands for the boxes in a fingerprint: a detector whose weights are known, so that
        its files for other videos are as good as this one, or else this file's content."""
        return asdict(self.detector) if self.detector.weights else {"content": self.hash}

    def of(self, video: str) -> Detections:
        """A video's boxes. One that the file does not know, or whose boxes are no boxes, fails."""
        if video not in self.rows:
            raise VideoError(f"{self.path.name} has no boxes of it; find them with telltale people")
        start, count = self.rows[video]
        try:
            return detections_of(self.table.slice(start, count))
        except VideoError as error:
            raise VideoError(f"{self.path.name}: {error}") from error

    def of_view(self, video: str, length: int) -> Detections:
        """The same, of a video of so many frames (0: nobody knows)."""
        found = self.of(video)
        if length:
            found.fits(length)
        return found


def read_boxes(path: Path) -> BoxesFile:
    """Whose columns are checked here, and whose boxes are checked video by video."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadBoxes(
            f"{path}: {error.strerror}; give a file of boxes, as `telltale people` writes it."
        ) from error
    table = _from_json(path, content) if path.suffix == ".json" else _from_parquet(path, content)
    detector = _identity(path, (table.schema.metadata or {}).get(_ABOUT))
    table = _with_columns(path, table)
    order = pa.compute.sort_indices(table, [("video", "ascending")])  # stable
    table = table.take(order).combine_chunks()
    return BoxesFile(
        path=path, hash=hashlib.sha256(content).hexdigest(), detector=detector, table=table,
        rows=_runs(table["video"].to_pylist()),
    )  # fmt: skip


@lru_cache(maxsize=2)
def read_same_boxes(path: str, content_hash: str) -> BoxesFile:
    """In a decode worker: once, and only the very file that a branch was made with."""
    found = read_boxes(Path(path))
    if found.hash != content_hash:
        raise VideoError(f"{path} was changed while it was used; run the same command again")
    return found


def file_bytes(table: pa.Table, detector: DetectorIdentity) -> memoryview:
    """The file itself, with who made it."""
    about = json.dumps({"format": FORMAT, "detector": asdict(detector)}, sort_keys=True)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata({_ABOUT: about.encode()}), sink, compression="zstd"
    )
    return memoryview(sink.getvalue())


def _runs(videos: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Where each of these begins, and how often it comes."""
    runs: dict[str, tuple[int, int]] = {}
    start = 0
    for video, same in itertools.groupby(videos):
        count = sum(1 for _ in same)
        runs[video] = (start, count)
        start += count
    return runs


def _from_parquet(path: Path, content: bytes) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(content), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise BadBoxes(f"{path} is no Parquet file of boxes ({_short(error)}).") from error


def _from_json(path: Path, content: bytes) -> pa.Table:
    try:
        document = json.loads(content)
        rows = list(_json_rows(document["videos"]))
        about = {"format": FORMAT, "detector": document.get("detector", {"name": "unknown"})}
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise BadBoxes(
            f"{path} is no JSON of boxes ({type(error).__name__}: {_short(error)}); give "
            f'{{"videos": {{ID: [{{"frame": 0, "kind": "person", "box": [x1, y1, x2, y2]}}]}}}}.'
        ) from error
    return table.replace_schema_metadata({_ABOUT: json.dumps(about).encode()})


def _json_rows(videos: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    for video, rows in videos.items():
        for row in rows:
            corners = dict(zip(CORNERS, map(float, row["box"]), strict=True))
            points = row.get("points")
            yield {
                "video": video,
                "frame": row["frame"],
                "kind": row["kind"],
                **corners,
                "score": row.get("score", 1.0),
                "person": row.get("person", NOBODY),
                "points": None if points is None else [float(n) for pair in points for n in pair],
            }


def _with_columns(path: Path, table: pa.Table) -> pa.Table:
    lacking = [n for n in SCHEMA.names if n not in table.column_names and n not in _OPTIONAL]
    if lacking:
        raise BadBoxes(
            f"{path} has no column {', '.join(lacking)} (it has {', '.join(table.column_names)}); "
            f"boxes need {', '.join(n for n in SCHEMA.names if n not in _OPTIONAL)}."
        )
    for name, value in _OPTIONAL.items():
        if name not in table.column_names:
            field = SCHEMA.field(name)
            table = table.append_column(field, pa.array([value] * len(table), field.type))
    try:
        table = table.select(SCHEMA.names).cast(SCHEMA.remove_metadata())
    except (pa.ArrowException, ValueError) as error:
        raise BadBoxes(
            f"{path} has columns of other types ({_short(error)}): give text for video and kind, "
            f"whole numbers for frame and person, numbers for the rest."
        ) from error
    empty = [name for name in SCHEMA.names if name not in _OPTIONAL and table[name].null_count]
    if empty:
        raise BadBoxes(f"{path} has rows without {', '.join(empty)}; every box needs one.")
    person = pa.compute.fill_null(table["person"], NOBODY)
    return table.set_column(table.column_names.index("person"), "person", person)


def _identity(path: Path, about: bytes | None) -> DetectorIdentity:
    if about is None:
        return _UNKNOWN
    try:
        document = json.loads(about)
        if document["format"] != FORMAT:
            raise BadBoxes(f"{path} has format {document['format']}; this reads format {FORMAT}.")
        said = {str(name): value for name, value in document["detector"].items()}
        return DetectorIdentity(**said)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadBoxes(
            f"{path} does not say who made it as boxes say it ({_short(error)})."
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
