"""One person in place of the frame: `?crop=person` of any branch."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from extract.branch import Branch, BranchRequest, load_branch
from extract.errors import BadBoxes, BadSetting
from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.crops import Square
from extract.people.detections import Canvas, Detections, DetectorIdentity, Found, Quad, detections
from extract.people.person_view import person_square
from extract.running.extraction import Extraction
from extract.running.summary import Summary
from features_store import Store
from tests.test_extract.clips import full_scan, write_clip
from tests.test_extract.extractions import settings

SIZE = WIDTH, HEIGHT = 96, 64
FRAMES = 12
SMALL: tuple[Quad, ...] = ((70.0, 4.0, 78.0, 20.0),) * FRAMES
LARGE: tuple[Quad, ...] = tuple((10.0 + n, 8.0, 30.0 + n, 44.0) for n in range(FRAMES))
"""Walks to the right: all its boxes together are 31 by 36."""
SQUARE = Square(left=4, top=4, right=47, bottom=47)
"""36 and a tenth of that at both ends, around (25.5, 26)."""
BRANCHES = {
    "val": ("internvideo2=tiny", "npr=residual?frames=8"),
    "test-1x2": ("frames=rgb", "depthpro=tiny"),
}


def persons(*tracks: Sequence[Quad]) -> Detections:
    return detections(
        [
            Found(frame=frame, kind="person", box=box, person=number)
            for number, track in enumerate(tracks)
            for frame, box in enumerate(track)
        ],
        Canvas(frames=tuple(range(FRAMES)), width=WIDTH, height=HEIGHT),
    )


def boxes(path: Path, videos: Mapping[str, Detections], weights: str = "") -> Path:
    identity = DetectorIdentity(name="test", weights=weights)
    path.write_bytes(file_bytes(boxes_table(videos), identity))
    return path


def cropped(text: str, file: Path, more: str = "") -> Branch:
    joined = "&" if "?" in text else "?"
    asked = f"{text}{joined}crop=person&boxes={file}{more}"
    return load_branch(BranchRequest.parse(asked))


def run(folder: Path, store: Path, branches: Sequence[Branch], protocol: str) -> Summary:
    manifest = read_manifest(folder, ManifestOptions(scheme="hfv4"))
    how = settings(protocol=protocol, max_failed=1.0)
    return Extraction.begin(manifest, store, branches, how).run(workers=1, bar=False)


def arrays(store: Path, protocol: str, branch: Branch) -> dict[str, bytes]:
    group = branch.offer.specs(1)[0].group
    found = Store.open(store).open_branch(protocol, group)
    assert found.status().tolist() == [1], found.errors()
    return {name: numbers.tobytes() for name, numbers in found.read_shard(0).parts.items()}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one video."""
    folder = tmp_path_factory.mktemp("whole")
    write_clip(folder / "a.mp4", frames=FRAMES, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def file(video: Path) -> Path:
    return boxes(video.parent / "people.parquet", {"a.mp4": persons(SMALL, LARGE)})


@pytest.fixture(scope="module")
def by_hand(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same video with nothing but the square, encoded without loss."""
    folder = tmp_path_factory.mktemp("cropped")
    pictures = [SQUARE.of(frame_hwc) for frame_hwc in full_scan(video / "a.mp4")]
    with av.open(str(folder / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(25), options={"qp": "0"})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.thread_count = "rgb24", 1
        for picture_hwc in pictures:
            picture_hwc = np.ascontiguousarray(picture_hwc)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture_hwc, format="rgb24")))
        container.mux(stream.encode(None))
    assert all(map(np.array_equal, full_scan(folder / "a.mp4"), pictures))
    return folder


@pytest.mark.parametrize("protocol", BRANCHES)
def test_a_person_is_seen_as_a_video_of_it_alone_would_be(
    protocol: str, video: Path, by_hand: Path, file: Path, tmp_path: Path
) -> None:
    """In one run with branches that look at whole frames, which see what they always see."""
    whole = [load_branch(BranchRequest.parse(text)) for text in BRANCHES[protocol]]
    of_person = [cropped(text, file) for text in BRANCHES[protocol]]
    run(video, tmp_path / "together", [*whole, *of_person], protocol)
    run(video, tmp_path / "alone", whole, protocol)
    run(by_hand, tmp_path / "by_hand", whole, protocol)
    for one, person in zip(whole, of_person, strict=True):
        alone = arrays(tmp_path / "alone", protocol, one)
        mine = arrays(tmp_path / "together", protocol, person)
        assert mine == arrays(tmp_path / "by_hand", protocol, one)
        assert mine != alone
        assert arrays(tmp_path / "together", protocol, one) == alone


def test_where_nobody_is_whole_frames_are_still_seen(
    video: Path, file: Path, tmp_path: Path
) -> None:
    """What is there is said by a branch that says such things; others fail, and only they."""
    nobody = boxes(tmp_path / "nobody.parquet", {"a.mp4": persons()})
    without = boxes(tmp_path / "other.parquet", {"b.mp4": persons(LARGE)})
    whole = load_branch(BranchRequest.parse("frames=rgb"))
    empty, unknown = cropped("frames=rgb", nobody), cropped("frames=rgb", without)
    marked = cropped("npr=residual?frames=8", nobody)
    summary = run(video, tmp_path / "s", [whole, empty, unknown, marked], "val")
    found = Store.open(tmp_path / "s")
    groups = {
        branch: found.open_branch("val", branch.offer.specs(1)[0].group)
        for branch in (whole, empty, unknown, marked)
    }
    assert [group.status().tolist() for group in groups.values()] == [[1], [2], [2], [1]]
    assert groups[empty].errors()[0] == "nobody is in it, as nobody.parquet has it"
    assert "other.parquet has no boxes of it" in groups[unknown].errors()[0]
    assert not groups[marked].read_shard(0).parts["present"].any()
    (failure,) = summary.failures
    assert not failure.whole
    assert "nobody is in it" in failure.reason
    assert "no boxes of it" in failure.reason
    again = run(video, tmp_path / "s", [whole, empty, unknown, marked], "val")
    assert again.failures == ()


def test_of_several_persons_the_one_that_fills_most_is_looked_at() -> None:
    assert person_square(persons(SMALL, LARGE), WIDTH, HEIGHT, 10) == SQUARE
    assert person_square(persons(LARGE, SMALL), WIDTH, HEIGHT, 10) == SQUARE
    often = persons(LARGE[:1], SMALL)
    assert person_square(often, WIDTH, HEIGHT, 0) == Square(left=66, top=4, right=82, bottom=20)
    twins = persons([(0.0, 0.0, 10.0, 10.0)], [(50.0, 0.0, 60.0, 10.0)])
    assert person_square(twins, WIDTH, HEIGHT, 0) == Square(left=0, top=0, right=10, bottom=10)


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((0.0, 0.0, 10.0, 20.0), (0, 0, 24, 24)),
        ((86.0, 54.0, 96.0, 64.0), (84, 52, 96, 64)),
        ((5.0, 30.0, 90.0, 40.0), (16, 0, 80, 64)),
        ((-9.0, 10.0, 200.0, 70.0), (16, 0, 80, 64)),
        ((40.2, 20.3, 40.4, 20.4), (40, 20, 41, 21)),
    ],
)  # fmt: skip
def test_a_square_stays_in_the_frame(box: Quad, square: tuple[int, int, int, int]) -> None:
    found = detections([Found(frame=0, kind="person", box=box)])
    left, top, right, bottom = square
    wanted = Square(left=left, top=top, right=right, bottom=bottom)
    assert person_square(found, WIDTH, HEIGHT, 10) == wanted


def test_faces_alone_are_no_person() -> None:
    found = detections([Found(frame=0, kind="face", box=(1.0, 2.0, 9.0, 9.0))])
    assert person_square(found, WIDTH, HEIGHT, 10) is None


def test_who_found_the_boxes_and_the_margin_decide(file: Path, tmp_path: Path) -> None:
    def prints(path: Path, more: str = "") -> str:
        return cropped("frames=rgb", path, more).offer.fingerprint

    other = boxes(tmp_path / "other.parquet", {"b.mp4": persons(LARGE)})
    whole = load_branch(BranchRequest.parse("frames=rgb")).offer.fingerprint
    assert len({whole, prints(file), prints(other), prints(file, "&margin=20")}) == 4
    assert prints(file) == prints(file, "&margin=10")
    known = [
        boxes(tmp_path / f"{number}.parquet", {f"{number}.mp4": persons(LARGE)}, weights="1f")
        for number in range(2)
    ]
    assert prints(known[0]) == prints(known[1])


def test_it_is_asked_for_again_from_anywhere(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    branch = cropped("npr=residual?frames=8", Path(file.name))
    monkeypatch.chdir(tmp_path)
    again = load_branch(branch.request)
    assert again.prepare == branch.prepare
    assert again.offer.fingerprint == branch.offer.fingerprint


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("frames=rgb?crop=face&boxes={file}", "have: person"),
        ("frames=rgb?crop=person", "boxes=FILE"),
        ("frames=rgb?crop=person&boxes={file}&margin=-1", "0 to 100"),
        ("frames=rgb?crop=person&boxes={file}&size=3", "no option 'size'"),
        ("internvideo2=tiny?boxes={file}", "no option 'boxes'.*crop"),
        ("anatomy=tiny?crop=person&boxes={file}", "looks at people already"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(asked: str, words: str, file: Path) -> None:
    with pytest.raises(BadSetting, match=words):
        load_branch(BranchRequest.parse(asked.format(file=file)))


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadBoxes, match="No such file"):
        cropped("frames=rgb", tmp_path / "none.parquet")
