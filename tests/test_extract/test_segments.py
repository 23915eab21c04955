"""Segments: rows that are stretches of a file, which is opened and decoded once for all of them."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from extract.decoding import packets
from extract.decoding.containers import Limits
from extract.decoding.cuts import SMALL, Cutting, parts, shot_starts, windows
from extract.decoding.files import Files
from extract.decoding.job import CLIPS, Job, Look, Plan, slot_arrays
from extract.decoding.lots import MOST, lots
from extract.decoding.pool import DecodePool
from extract.decoding.video import open_video
from extract.decoding.worker import load_makers, work
from extract.errors import BadManifest, BadSetting, VideoError
from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.manifest.segments import Segment, segment_of, split_name
from extract.views.protocol import Protocol
from heads.commands.main import main
from tests.test_extract.clips import write_clip

FRAMES = 60


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """B-frames, a keyframe every 25 pictures, 25 a second."""
    folder = tmp_path_factory.mktemp("clip")
    options = {"g": "25", "bf": "3", "x264-params": "keyint=25:scenecut=0"}
    return write_clip(folder / "v.mp4", frames=FRAMES, options=options)


def jobs(clip: Path, *segments: str) -> list[Job]:
    return [Job(index=i, id=f"v.mp4#t={one}", path=str(clip)) for i, one in enumerate(segments)]


def test_names() -> None:
    assert split_name("a/b.mp4") == ("a/b.mp4", None)
    assert split_name("a.mp4#t=1.50,12") == ("a.mp4", Segment(start=1.5, end=12.0))
    assert str(Segment(start=0, end=17.25)) == "#t=0.0,17.25"
    assert segment_of("x#t=1,2", "/in/x#t=1,2") is None  # a file that is called so
    assert Segment(start=0.1, end=0.25).frames([0, 0.1, 0.2, 0.3]) == range(1, 3)
    with pytest.raises(VideoError, match=r"the last is at 0\.300"):
        Segment(start=5, end=6).frames([0, 0.1, 0.2, 0.3])
    with pytest.raises(BadSetting, match="its end has to come after its start"):
        split_name("a.mp4#t=5,5")


def test_a_manifest_names_segments(tmp_path: Path) -> None:
    (tmp_path / "odd#t=1,2").write_bytes(b"a file")
    (tmp_path / "m.csv").write_text(
        'path,label\n"a.mp4#t=0,1.5",3\n"a.mp4#t=1.5,3",2\n"odd#t=1,2",3\n'
    )
    manifest = read_manifest(tmp_path / "m.csv", ManifestOptions(scheme="hfv4"))
    assert [v.id for v in manifest.videos] == ["a.mp4#t=0.0,1.5", "a.mp4#t=1.5,3.0", "odd#t=1,2"]
    assert [Path(v.path).name for v in manifest.videos] == ["a.mp4", "a.mp4", "odd#t=1,2"]
    assert [video.label for video in manifest.videos] == [3, 2, 3]
    (tmp_path / "bad.csv").write_text('path,label\n"a.mp4#t=3,1",3\n')
    with pytest.raises(BadManifest, match="its end has to come after its start"):
        read_manifest(tmp_path / "bad.csv", ManifestOptions(scheme="hfv4"))


def test_a_segment_is_seen_as_a_file_of_its_frames_would_be(clip: Path) -> None:
    plan = Plan(looks=(Look(protocol="val", outputs=(CLIPS,)),))
    with open_video(clip) as video:
        every = list(video.every_frame())
    with DecodePool(plan) as pool:
        for outcome in pool.run(jobs(clip, "0.4,1.2", "1.2,9")):
            assert outcome.failure is None
            first, count = ((10, 20), (30, 30))[outcome.job.index]
            views = Protocol.parse("val").views("", count)
            frames = dict(enumerate(every[first : first + count]))
            assert np.array_equal(outcome.arrays["clips"], CLIPS.load()(frames, views))
            assert outcome.info is not None
            assert (outcome.info.frames, outcome.info.share) == (count, count / FRAMES)


@pytest.mark.parametrize("name", ["val", "test-2x1", "val+rate5", "val+canonical"])
def test_one_pass_gives_what_each_segment_gives_by_itself(clip: Path, name: str) -> None:
    plan = Plan(looks=(Look(protocol=name, outputs=(CLIPS,)),))
    cut = jobs(clip, "0.1,0.9", "0.9,1", "0.8,2", "2,2.4", "0.2,0.7")  # overlapping, and back
    with DecodePool(plan) as pool:
        together = [outcome.copied for outcome in pool.run(cut)]
    makers, slot = load_makers(plan), memoryview(bytearray(plan.slot_bytes))
    for job, found in zip(cut, together, strict=True):
        assert not work(Files(plan), makers, job, slot).error
        assert np.array_equal(slot_arrays(slot, plan.looks)[name]["clips"], found.arrays["clips"])


def test_a_file_is_opened_once_and_no_picture_is_decoded_twice(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, decoded = [], []
    real_open, real_decode = open_video, packets._decode

    def opening(path: str, **options: object) -> object:
        opened.append(path)
        return real_open(path, **options)  # type: ignore[arg-type]

    def decoding(context: object, packet: object) -> Iterator[object]:
        if packet is not None:
            decoded.append(packet.pts)  # type: ignore[attr-defined]
        return iter(real_decode(context, packet))  # type: ignore[arg-type]

    monkeypatch.setattr("extract.decoding.files.open_video", opening)
    plan = Plan(looks=(Look(protocol="val", outputs=(CLIPS,)),))
    files, slot = Files(plan), memoryview(bytearray(plan.slot_bytes))
    cut = jobs(clip, *(f"{start / 10:g},{start / 10 + 0.4:g}" for start in range(0, 24, 4)))
    monkeypatch.setattr(packets, "_decode", decoding)
    for number, job in enumerate(cut):
        ahead = tuple(other.id for other in cut[number + 1 :])
        given = Job(index=job.index, id=job.id, path=job.path, ahead=ahead)
        assert not work(files, load_makers(plan), given, slot).error
    files.close()
    assert len(opened) == 1
    # The first picture is decoded once more, to see what the file is.
    assert len(decoded) - 1 == len(set(decoded)) <= FRAMES


def test_a_broken_stretch_costs_its_segment_and_no_other(clip: Path, tmp_path: Path) -> None:
    content = bytearray(clip.read_bytes())
    with open_video(clip, reread=True) as video:
        (middle,) = video._table.source.between(25, 25)
        offset, size = middle.pos, middle.size
    assert offset is not None
    content[offset : offset + size] = b"\0" * size
    broken = tmp_path / "v.mp4"
    broken.write_bytes(content)
    plan = Plan(looks=(Look(protocol="val", outputs=(CLIPS,)),))
    with DecodePool(plan) as pool:
        found = {o.job.index: o.failure for o in pool.run(jobs(broken, "0,0.8", "1,1.8", "2,2.4"))}
    assert found[0] is None
    assert found[1] is not None
    assert found[2] is None


def scene(number: int, kind: int) -> np.ndarray:
    """A picture of one of a few places: a square moves in it, the camera pans, it is noisy."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:54, :96]
    place = 120 + 60 * np.sin((x + number + 40 * kind) / (5 + 3 * kind)) * np.cos(y / (4 + kind))
    colour = np.roll(np.array([1.0, 0.8, 0.6]), kind)
    image = place[..., None] * colour + random.normal(0, 4, (54, 96, 1))
    left = 10 + abs(25 - number % 50)
    image[10:30, left : left + 20] = 200
    return np.asarray(image.clip(0, 255), np.uint8)


def test_shots_begin_where_the_place_changes_and_not_where_it_flashes() -> None:
    pictures = [scene(number, number // 40) for number in range(120)]
    pictures[20] = np.full_like(pictures[20], 255)  # a flash
    small = [np.asarray(cv2.resize(one, SMALL), np.uint8) for one in pictures]
    assert list(shot_starts(small)) == [40, 80]
    assert list(shot_starts(small[:1])) == []


def test_windows_and_parts_cover_a_video_once() -> None:
    assert windows(0, 25.0, 10) == [0, 10, 20]
    assert windows(0, 20.9, 10) == [0, 10]  # a short rest belongs to the last
    assert windows(0, 0.4, 10) == [0]
    assert parts(5.0, 30.0, 10) == [5.0, 13.333, 21.667]
    assert [str(Cutting.parse(text)) for text in ("shots", "windows=2.5")] == [
        "shots", "windows=2.5s"
    ]  # fmt: skip
    for text in ("windows", "windows=0.1s", "scenes", "shots:", "shots:mine"):
        with pytest.raises(BadSetting, match="give shots, shots:transnetv2, or windows="):
            Cutting.parse(text)


def test_a_cut_manifest_is_read_back(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "v.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "in" / "w.mp4").write_text("no video")
    out = tmp_path / "cut.csv"
    command = ["manifest", "cut", str(tmp_path / "in"), "--segments", "windows=1", "--out"]
    assert main([*command, str(out), "--workers", "1"]) == 3
    said = capsys.readouterr().out
    assert "not cut  w.mp4: no video container" in said
    assert "1 videos, 3 rows (windows=1s)" in said
    rows = read_manifest(out).videos
    names = ["in/v.mp4#t=0.0,1.0", "in/v.mp4#t=1.0,2.4", "in/w.mp4"]
    assert [video.id for video in rows] == names
    assert [video.group for video in rows] == ["v.mp4", "v.mp4", ""]


def test_a_long_file_is_no_reason_to_refuse_its_segments(clip: Path) -> None:
    plan = Plan(
        looks=(Look(protocol="val", outputs=(CLIPS,)),),
        limits=Limits(max_seconds=1.0, max_bytes=10),
    )
    with DecodePool(plan) as pool:
        found = {o.job.index: o.failure for o in pool.run(jobs(clip, "0,0.8", "0,2"))}
    assert found[0] is None
    assert "the segment lasts 2 s, longer than 1 (--max-seconds)" in str(found[1])


def test_segments_of_a_file_are_one_lot_and_other_jobs_wait_for_nobody() -> None:
    dealt: list[str] = []

    def asked() -> Iterator[Job]:
        many = [f"d#t={start}.0,{start + 1}.0" for start in range(MOST + 2)]
        names = ["a", "b#t=0.0,1.0", "b#t=1.0,2.0", "c", *many]
        for index, name in enumerate(names):
            dealt.append(name)
            yield Job(index=index, id=name, path=name.partition("#")[0])

    found = lots(asked())
    assert [job.id for job in next(found)] == ["a"]
    assert dealt == ["a"]  # nothing was asked for that is dealt later
    rest = [[job.id for job in lot] for lot in found]
    assert rest[0] == ["b#t=0.0,1.0", "b#t=1.0,2.0"]
    assert rest[1] == ["c"]
    assert [len(lot) for lot in rest[2:]] == [MOST, 2]
