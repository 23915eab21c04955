"""`telltale people`: boxes of many videos in one file, gone on with, never replacing another's."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from extract.decoding.containers import Limits
from extract.decoding.scanning import Scan
from extract.errors import VideoError
from extract.manifest.segments import Segment
from extract.people import search as searching
from extract.people.boxes_file import read_boxes
from extract.people.detections import Canvas, Detections, DetectorIdentity, Found, detections
from extract.people.detector import Detector, Picture
from extract.people.search import Looking, search
from extract.synthesis.clip import Clip
from extract.synthesis.data_set import SyntheticOptions, plan_data_set, write_data_set
from extract.synthesis.truth import truth
from features_store.errors import OutputExists
from tests.test_extract.clips import full_scan, write_clip
from tests.test_features_store.test_cli import here


class Bright(Detector):
    """A person in the whole of every frame; keeps what it was shown."""

    identity = DetectorIdentity(name="bright")

    def __init__(self) -> None:
        self.seen = list[Picture]()

    def find(self, frame_hwc: Picture, number: int) -> list[Found]:
        self.seen.append(frame_hwc.copy())
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
    with Looking(Bright(), Scan(every=3, lot_bytes=1)) as looking:
        found = looking.boxes_of("a.mp4", str(tmp_path / "a.mp4"))
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
        search(Looking(Bright(), Scan()), VIDEOS, out)


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


HOSTILE = """
import os, signal, time
opened = os.open
def opening(path, *rest, **more):
    if str(path).endswith("dies.mp4"):
        os.kill(os.getpid(), signal.SIGKILL)
    if str(path).endswith("hangs.mp4"):
        time.sleep(3600)
    return opened(path, *rest, **more)
os.open = opening
"""
"""Done in every worker when it starts: files that take their decoder down."""


def test_a_file_that_takes_its_decoder_down_costs_that_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOSTILE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    names = ("dies.mp4", "hangs.mp4", "junk.mp4", "well.mp4")
    for name in names:
        write_clip(tmp_path / name, frames=5)
    (tmp_path / "junk.mp4").write_bytes(b"no video")
    out = tmp_path / "b.parquet"
    limits = Limits(time_limit=1.5)
    with Looking(Bright(), Scan(), limits=limits, root=str(tmp_path)) as looking:
        found = search(looking, [(name, str(tmp_path / name)) for name in names], out)
    assert (found.looked, found.boxes) == (1, 5)
    assert "its worker died (SIGKILL); it has cost two workers" in found.failures["dies.mp4"]
    assert "no result after 1.5 s" in found.failures["hangs.mp4"]
    assert set(found.failures) == {*names[:3]}
    assert list(read_boxes(out).rows) == ["well.mp4"]


def test_a_lost_decoder_is_replaced_where_it_stopped(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=12)

    class Killer(Bright):
        """Of the decoder, once, in the middle of the video."""

        def find(self, frame_hwc: Picture, number: int) -> list[Found]:
            if number == 5:
                os.kill(looking._pool.processes[0], signal.SIGKILL)
            return super().find(frame_hwc, number)

    three = 3 * full_scan(path)[0].nbytes
    killer = Killer()
    with Looking(killer, Scan(lot_bytes=three)) as looking:
        found = looking.boxes_of("a.mp4", str(path))
    assert [one.frame for one in found.found()] == list(range(12))
    for ours, theirs in zip(killer.seen, full_scan(path), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_boxes_of_a_segment_are_numbered_from_its_first_frame(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=12, times=[40 * n for n in range(12)])
    bright = Bright()
    with Looking(bright, Scan(every=2)) as looking:
        found = looking.boxes_of(f"a.mp4{Segment(start=1.2, end=2.8)}", str(path))
    assert [one.frame for one in found.found()] == [0, 2]
    for ours, theirs in zip(bright.seen, full_scan(path)[3:7:2], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_mistakes_are_explained(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames=3, times=[0, 40, 80])
    people = ("people", tmp_path, "--out", tmp_path / "b.parquet", "--detector")
    assert "no folder that `telltale synth` made" in here(*people, "made-up", expect=1)
    assert "unknown; have: yolo-world" in here(*people, "yolov8", expect=1)
    assert "give 1 or more" in here(*people, "mtcnn", "--every", "0", expect=1)
    wrong = ("people", tmp_path, "--out", tmp_path / "b.csv", "--detector", "mtcnn")
    assert "end it in .parquet" in here(*wrong, expect=1)
