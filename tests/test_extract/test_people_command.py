"""`telltale people`: boxes of many videos in one file, gone on with, never replacing another's."""

from pathlib import Path

import numpy as np
import pytest

from extract.errors import VideoError
from extract.people import search as searching
from extract.people.boxes_file import read_boxes
from extract.people.detections import Canvas, Detections, DetectorIdentity, Found, detections
from extract.people.detector import Detector, Picture
from extract.people.search import Looking, search
from extract.synthesis.clip import Clip
from extract.synthesis.data_set import SyntheticOptions, plan_data_set, write_data_set
from extract.synthesis.truth import truth
from features_store.errors import OutputExists
from tests.test_extract.clips import write_clip
from tests.test_features_store.test_cli import here


class Bright(Detector):
    """A person in the whole of every frame."""

    identity = DetectorIdentity(name="bright")

    def find(self, frame_hwc: Picture, number: int) -> list[Found]:
        height, width = frame_hwc.shape[:2]
        return [Found(frame=number, kind="person", box=(0.0, 0.0, float(width), float(height)))]


class Told:
    """Says one box of every video, and breaks down after so many."""

    identity = DetectorIdentity(name="told")

    def __init__(self, most: int = 99) -> None:
        self.most, self.asked = most, list[str]()

    def boxes_of(self, video: str, path: str) -> Detections:
        if len(self.asked) >= self.most:
            raise KeyboardInterrupt
        self.asked.append(video)
        if path == "broken":
            raise VideoError("it is broken")
        return detections([Found(frame=0, kind="person", box=(0.0, 0.0, 4.0, 4.0))])


VIDEOS = [(f"{n}.mp4", "broken" if n == 2 else "fine") for n in range(7)]


def test_every_kth_frame_is_looked_at(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames=7, times=[40 * n for n in range(7)])
    found = Looking(detector=Bright(), every=3).boxes_of("a.mp4", str(tmp_path / "a.mp4"))
    assert [one.frame for one in found.found()] == [0, 3, 6]
    assert found.canvas is not None
    assert found.canvas.frames == (0, 3, 6)
    assert found.boxes_n4[0].tolist() == [0, 0, found.canvas.width, found.canvas.height]


def test_a_killed_search_goes_on_and_failed_videos_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "PART", 2)
    out = tmp_path / "b.parquet"
    with pytest.raises(KeyboardInterrupt):
        search(Told(5), VIDEOS, out)
    assert not out.exists()
    again = Told()
    found = search(again, VIDEOS, out)
    assert again.asked == ["2.mp4", *(f"{n}.mp4" for n in (5, 6))]
    assert found.failures == {"2.mp4": "it is broken"}
    assert (found.found, found.looked, found.boxes) == (6, 2, 6)
    assert len(read_boxes(out).rows) == 6
    assert [path.name for path in tmp_path.iterdir() if "parts" in path.name] == []
    more = Told()
    search(more, [*VIDEOS[3:], ("new.mp4", "fine")], out)
    assert more.asked == ["new.mp4"]
    assert len(read_boxes(out).rows) == 7


def test_what_another_search_made_stays(tmp_path: Path) -> None:
    out = tmp_path / "b.parquet"
    out.write_bytes(b"mine")
    with pytest.raises(OutputExists):
        search(Told(), VIDEOS, out)
    search(Told(), VIDEOS, out, overwrite=True)
    with pytest.raises(OutputExists, match="another detector"):
        search(Looking(detector=Bright()), VIDEOS, out)


def test_the_true_boxes_of_made_up_people(tmp_path: Path) -> None:
    options = SyntheticOptions(videos=2, seed=5)
    for _ in write_data_set(tmp_path / "set", options):
        pass
    out = tmp_path / "b.parquet"
    asked = ("people", tmp_path / "set", "--detector", "made-up", "--every", "7", "--out", out)
    said = here(*asked)
    assert "2 videos, 2 of them looked at now, by made-up" in said
    boxes = read_boxes(out)
    video = plan_data_set(options)[1]
    (name,) = (each for each in boxes.rows if each.endswith(video.file))
    found = boxes.of(name)
    true = truth(Clip(video.clip), 7).person
    assert true is not None
    (person,) = found.at(7).of("person").found()
    assert list(person.box) == [true.left, true.top, true.right, true.bottom]
    assert found.canvas == Canvas(
        frames=tuple(range(0, video.clip.frames, 7)), width=video.clip.width,
        height=video.clip.height,
    )  # fmt: skip
    assert np.isin([one.person for one in found.found()], 0).all()
    assert "0 of them looked at now" in here(*asked)


def test_mistakes_are_explained(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames=3, times=[0, 40, 80])
    people = ("people", tmp_path, "--out", tmp_path / "b.parquet", "--detector")
    assert "no folder that `telltale synth` made" in here(*people, "made-up", expect=1)
    assert "unknown; have: yolo-world" in here(*people, "yolov8", expect=1)
    assert "give 1 or more" in here(*people, "mtcnn", "--every", "0", expect=1)
    wrong = ("people", tmp_path, "--out", tmp_path / "b.csv", "--detector", "mtcnn")
    assert "end it in .parquet" in here(*wrong, expect=1)
