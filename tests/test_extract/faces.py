"""A file of made-up faces, for branches that look at faces."""

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import Detections, DetectorIdentity, Found, Points, detections

CLIP = "clip.mp4"
"""The video that `boxes` knows: of 20 frames of 160 x 90, with one face in all of them."""
_POINTS: Points = ((74, 35), (92, 34), (83, 46), (75, 55), (91, 55))


def face(frame: int, *, right: float = 0.0, score: float = 0.99) -> Found:
    """That moves to the right by so much."""
    points = tuple((x + right, y) for x, y in _POINTS)
    box = (66 + right, 20.0, 100 + right, 62.0)
    return Found(frame=frame, kind="face", box=box, score=score, points=points)


def moving(frames: range) -> Detections:
    return detections(face(frame, right=frame / 4) for frame in frames)


def written(path: Path, videos: Mapping[str, Detections]) -> Path:
    path.write_bytes(file_bytes(boxes_table(videos), DetectorIdentity(name="made-up")))
    return path


@cache
def boxes() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="telltale-faces-"))
    return written(folder / "faces.parquet", {CLIP: moving(range(20))})
