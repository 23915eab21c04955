"""Files of boxes: what is written is read, and what is no box is refused by name."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extract.errors import BadBoxes, VideoError
from extract.people.boxes_file import file_bytes, read_boxes, read_same_boxes
from extract.people.boxes_table import SCHEMA, boxes_table
from extract.people.detections import Canvas, Detections, DetectorIdentity, Found, detections

IDENTITY = DetectorIdentity(name="by-hand", weights="0" * 8, settings={"threshold": 0.1})
POINTS = ((3.0, 4.0), (6.0, 4.0), (4.5, 6.0), (3.5, 8.0), (5.5, 8.0))
PERSON = Found(frame=2, kind="person", box=(1.0, 2.0, 11.5, 20.0), score=0.75, person=4)
FACE = Found(frame=0, kind="face", box=(2.0, 3.0, 7.0, 9.0), score=0.5, person=4, points=POINTS)
LOOKED = Canvas(frames=(0, 1, 2), width=32, height=24)


def written(path: Path, videos: Mapping[str, Detections]) -> Path:
    path.write_bytes(file_bytes(boxes_table(videos), IDENTITY))
    return path


def parquet(path: Path, **changes: object) -> Path:
    """A file of one box with these columns in place of good ones; None leaves one out."""
    row: dict[str, object] = {
        "video": "a.mp4", "frame": 0, "kind": "person", "x1": 1.0, "y1": 1.0, "x2": 9.0,
        "y2": 9.0, "score": 0.9, **changes,
    }  # fmt: skip
    columns = {name: [value] for name, value in row.items() if value is not None}
    pq.write_table(pa.table(columns), path)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    videos = {
        "b/one.mp4": detections([PERSON, FACE], LOOKED),
        "a.mp4": detections([], LOOKED),
        "c.mp4": detections([PERSON]),
    }
    read = read_boxes(written(tmp_path / "boxes.parquet", videos))
    assert read.detector == IDENTITY
    assert sorted(read.rows) == ["a.mp4", "b/one.mp4", "c.mp4"]
    one = read.of("b/one.mp4")
    assert one.found() == (FACE, PERSON)  # in order of frames
    assert one.canvas == LOOKED
    assert one.at(2).found() == (PERSON,)
    assert one.of("face").found() == (FACE,)
    assert len(one.at(1)) == 0
    assert len(read.of("a.mp4")) == 0  # nobody is in it
    assert read.of("c.mp4").canvas is None


def test_json_means_the_same(tmp_path: Path) -> None:
    rows = [
        {"frame": 2, "kind": "person", "box": PERSON.box, "score": 0.75, "person": 4},
        {"frame": 0, "kind": "face", "box": FACE.box, "score": 0.5, "person": 4, "points": POINTS},
        *({"frame": n, "kind": "frame", "box": [0, 0, 32, 24]} for n in range(3)),
    ]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"detector": {"name": "theirs"}, "videos": {"a.mp4": rows}}))
    read = read_boxes(path)
    assert read.detector.name == "theirs"
    assert read.of("a.mp4").found() == (FACE, PERSON)
    assert read.of("a.mp4").canvas == LOOKED


def test_a_plain_table_of_anybodys_detector(tmp_path: Path) -> None:
    read = read_boxes(parquet(tmp_path / "boxes.parquet", frame=np.int64(7), x2=np.float64(9)))
    (box,) = read.of("a.mp4").found()
    assert (box.frame, box.box, box.person, box.points) == (7, (1.0, 1.0, 9.0, 9.0), -1, None)
    assert len(read.of("a.mp4").at(3)) == 0  # nobody said where it was looked


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x1": float("nan")}, "not finite"),
        ({"y2": float("inf")}, "not finite"),
        ({"score": float("nan")}, "not finite"),
        ({"frame": -3}, "before the first"),
        ({"kind": "cat"}, "kind cat"),
        ({"points": [1.0, 2.0]}, "2 numbers as points"),
        ({"points": [float("nan")] * 9 + [1.0]}, "points that are not finite"),
    ],
)
def test_boxes_that_are_none_fail_their_video(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    read = read_boxes(parquet(tmp_path / "boxes.parquet", **changes))
    with pytest.raises(VideoError, match=reason):
        read.of("a.mp4")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x1": None}, "no column x1"),
        ({"video": None}, "no column video"),
        ({"frame": "first"}, "other types"),
        ({"frame": 2**40}, "other types"),
        ({"x1": "left"}, "other types"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(BadBoxes, match=reason):
        read_boxes(parquet(tmp_path / "boxes.parquet", **changes))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadBoxes, match="No such file"):
        read_boxes(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("boxes")
    with pytest.raises(BadBoxes, match="no Parquet file"):
        read_boxes(tmp_path / "text.parquet")
    for text in ("[", "[]", '{"videos": {"a": [{"frame": 0}]}}', '{"videos": {"a": 3}}'):
        (tmp_path / "boxes.json").write_text(text)
        with pytest.raises(BadBoxes, match="no JSON of boxes"):
            read_boxes(tmp_path / "boxes.json")
    table = SCHEMA.empty_table().replace_schema_metadata({b"telltale.people": b'{"format": 9}'})
    pq.write_table(table, tmp_path / "newer.parquet")
    with pytest.raises(BadBoxes, match="format 9"):
        read_boxes(tmp_path / "newer.parquet")


def test_ten_thousand_persons_in_a_frame_fail_their_video() -> None:
    crowd = [Found(frame=0, kind="person", box=(0, 0, 5, 5), person=n) for n in range(10_000)]
    with pytest.raises(VideoError, match="more than 1,000 boxes"):
        detections(crowd)


def test_a_video_that_is_not_in_the_file_fails(tmp_path: Path) -> None:
    read = read_boxes(written(tmp_path / "boxes.parquet", {"a.mp4": detections([], LOOKED)}))
    with pytest.raises(VideoError, match=r"boxes\.parquet has no boxes of it"):
        read.of("b.mp4")


def test_boxes_beyond_the_video_fail_it(tmp_path: Path) -> None:
    boxes = {"a.mp4": detections([PERSON]), "b.mp4": detections([], LOOKED)}
    read = read_boxes(written(tmp_path / "boxes.parquet", boxes))
    for video in boxes:
        assert read.of_view(video, 3) is not None
        with pytest.raises(VideoError, match="go to frame 2, the video has 2 frames"):
            read.of_view(video, 2)


def test_frames_that_nobody_looked_at_are_no_frames_without_persons() -> None:
    with pytest.raises(VideoError, match="in frame 5"):
        detections([PERSON], LOOKED).at(5)


def test_boxes_are_cut_to_the_frame_and_those_outside_are_gone() -> None:
    boxes = [(-5.0, 2.0, 40.0, 8.0), (50.0, 2.0, 60.0, 8.0), (4.0, 4.0, 4.0, 9.0), (9, 9, 2, 2)]
    found = detections([Found(frame=0, kind="person", box=box) for box in boxes])
    assert [one.box for one in found.inside(32, 24).found()] == [(0.0, 2.0, 32.0, 8.0)]


def test_boxes_of_another_frame_size_fail() -> None:
    with pytest.raises(VideoError, match="of 32x24, the video has 64x48"):
        detections([PERSON], LOOKED).inside(64, 48)


def test_a_worker_reads_only_the_file_that_was_hashed(tmp_path: Path) -> None:
    path = written(tmp_path / "boxes.parquet", {"a.mp4": detections([PERSON])})
    known = read_boxes(path).hash
    assert len(read_same_boxes(str(path), known).of("a.mp4")) == 1
    written(tmp_path / "other.parquet", {"a.mp4": detections([])})
    with pytest.raises(VideoError, match="was changed"):
        read_same_boxes(str(tmp_path / "other.parquet"), known)
