"""Several protocols in one run: one decode a video, and every number as if each had run alone."""

import itertools
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from extract.branch import BranchRequest
from extract.decoding import files
from extract.decoding.job import Job, Outcome
from extract.decoding.video import Image, OpenVideo, open_video
from extract.errors import DamagedVideo
from extract.exit_codes import DONE, SOME_FAILED
from extract.manifest.manifest import read_manifest
from extract.running.run import Run
from extract.views.protocol import Protocol
from features_store import Store
from features_store.schema import Status
from heads.commands.main import main
from tests.soak.rounds import OwnProcess
from tests.test_extract.clips import write_clip
from tests.test_extract.extractions import assert_equal_stores, settings

LOOKS = {
    "val": "internvideo2=tiny",
    "frames-8@8": "image=dinov2-tiny?outputs=cls,steps",
    "pairs-4": "motion=dis?pairs=4",
    "val+blur3": "internvideo2=tiny",
}
BRANCHES = [f"{b}{'&' if '?' in b else '?'}protocol={name}" for name, b in LOOKS.items()]
COUNT = 4


def times(frames: int) -> list[int]:
    """Of 25 frames a second."""
    return [4 * number for number in range(frames)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, one of them cut off, and `apart`: what separate runs make of them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "videos").mkdir()
    for number in range(COUNT):
        clip = folder / "videos" / f"{number}.mp4"
        write_clip(clip, frames=40 + number, times=times(40 + number))
    broken = folder / "videos" / "0.mp4"
    broken.write_bytes(broken.read_bytes()[:900])
    apart(folder / "videos", folder / "apart")
    return folder


@pytest.fixture
def videos(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "videos", tmp_path / "videos"))


def run(videos: Path, store: Path, *options: str) -> int:
    """As typed, decoding in this process."""
    with mock.patch("extract.running.extraction.DecodePool", OwnProcess):
        return main(["extract", str(videos), "--store", str(store), "--device", "cpu", *options])


def together(videos: Path, store: Path, *options: str) -> int:
    return run(videos, store, *(f"--branch={text}" for text in BRANCHES), *options)


def apart(videos: Path, store: Path) -> None:
    for protocol, branch in LOOKS.items():
        run(videos, store, "--protocol", protocol, "--branch", branch)


@contextmanager
def opened() -> Iterator[Counter[str]]:
    """How often each file is opened."""
    found: Counter[str] = Counter()

    def counted(path: str, **options: Any) -> Any:  # noqa: ANN401
        found[Path(path).name] += 1
        return open_video(path, **options)

    with mock.patch.object(files, "open_any", counted):
        yield found


@contextmanager
def late_frames_broken(name: str) -> Iterator[None]:
    """A video whose last frames cannot be decoded."""
    read = OpenVideo.read

    def broken(video: OpenVideo, numbers: Sequence[int]) -> dict[int, Image]:
        if video.info.digest == name and max(numbers) > 33:
            raise DamagedVideo("a frame that is needed is broken in the file")
        return read(video, numbers)

    with mock.patch.object(OpenVideo, "read", broken):
        yield


@contextmanager
def ended_early(after: int) -> Iterator[None]:
    """A run that is ended when so many videos are decoded."""
    whole = OwnProcess.run

    def some(pool: OwnProcess, jobs: Iterable[Job]) -> Iterator[Outcome]:
        yield from itertools.islice(whole(pool, jobs), after)
        raise OSError("the disk is gone")

    with mock.patch.object(OwnProcess, "run", some):
        yield


def test_one_decode_gives_what_separate_runs_give(made: Path, videos: Path, tmp_path: Path) -> None:
    with opened() as found:
        assert together(videos, tmp_path / "one") == SOME_FAILED
    assert_equal_stores(tmp_path / "one", made / "apart")
    assert {name: found[name] for name in found if name != "0.mp4"} == {
        f"{number}.mp4": 1 for number in range(1, COUNT)
    }
    with opened() as again:
        together(videos, tmp_path / "one")
    assert not again


def test_only_what_is_missing_is_looked_at(
    made: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(videos, tmp_path / "s", "--protocol", "frames-8@8", "--branch", LOOKS["frames-8@8"])
    with ended_early(after=2):
        assert together(videos, tmp_path / "s") == 1
    looked: list[str] = []
    views = Protocol.views

    def noted(protocol: Protocol, *given: Any, **options: Any) -> Any:  # noqa: ANN401
        looked.append(protocol.name)
        return views(protocol, *given, **options)

    monkeypatch.setattr(Protocol, "views", noted)
    together(videos, tmp_path / "s", "--retry-failed")
    assert set(looked) == set(LOOKS) - {"frames-8@8"}
    monkeypatch.undo()
    assert_equal_stores(tmp_path / "s", made / "apart")


def test_what_one_protocol_cannot_have_costs_no_other(
    made: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_video(videos / "2.mp4", hashed=True) as video:
        digest = video.info.digest
    with late_frames_broken(digest):
        assert together(videos, tmp_path / "one") == SOME_FAILED
    assert "val: a frame that is needed is broken" in capsys.readouterr().out
    one, alone = map(Store.open, (tmp_path / "one", made / "apart"))
    lost: dict[str, set[int]] = {}
    for protocol in LOOKS:
        for group in one.branches(protocol):
            mine, other = (store.open_branch(protocol, group) for store in (one, alone))
            row = one.videos.rows_by_id()["2.mp4"]
            lost.setdefault(protocol, set()).add(int(mine.status()[row]))
            if mine.status()[row] == Status.OK:
                for name, numbers in mine.read_shard(0).parts.items():
                    np.testing.assert_array_equal(numbers, other.read_shard(0).parts[name])
    assert lost == {
        "val": {Status.FAILED}, "val+blur3": {Status.FAILED}, "pairs-4": {Status.FAILED},
        "frames-8@8": {Status.OK},
    }  # fmt: skip
    together(videos, tmp_path / "one", "--retry-failed")
    assert_equal_stores(tmp_path / "one", made / "apart")


def test_a_changed_file_is_left_where_it_is_known_and_done_where_it_is_not(
    videos: Path, tmp_path: Path
) -> None:
    (videos / "0.mp4").unlink()
    first = "frames-8@8"
    run(videos, tmp_path / "s", "--protocol", first, "--branch", LOOKS[first])
    before = Store.open(tmp_path / "s").table(["image/cls"], protocol=first)
    write_clip(videos / "1.mp4", frames=30, times=times(30))
    assert together(videos, tmp_path / "s") == DONE
    store = Store.open(tmp_path / "s")
    kept = store.table(["image/cls"], protocol=first)
    np.testing.assert_array_equal(kept.arrays["image/cls"], before.arrays["image/cls"])
    assert (store.open_branch("val", "internvideo2").status() == Status.OK).all()
    shutil.copytree(tmp_path / "s", tmp_path / "more")
    together(videos, tmp_path / "more", f"--branch=image=xclip-tiny?protocol={first}")
    added = Store.open(tmp_path / "more").open_branch(first, "image-xclip-tiny")
    assert added.status().tolist() == [Status.MISSING, Status.OK, Status.OK]  # of another file
    assert together(videos, tmp_path / "s", "--changed", "recompute") == DONE
    apart(videos, tmp_path / "fresh")
    assert_equal_stores(tmp_path / "s", tmp_path / "fresh")


def test_a_dry_run_says_what_each_protocol_lacks(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(videos, tmp_path / "s", "--protocol", "frames-8@8", "--branch", LOOKS["frames-8@8"])
    with mock.patch("extract.running.estimate.DecodePool", OwnProcess):
        assert together(videos, tmp_path / "s", "--dry-run") == DONE
    said = capsys.readouterr().out
    assert re.search(r"pairs-4/motion-dis@\w+: 4 videos", said)
    assert re.search(r"val\+blur3/internvideo2-tiny@\w+: 4 videos", said)
    assert re.search(r"frames-8@8/image-dinov2-tiny@\w+: 0 videos", said)


def test_a_network_under_two_protocols_is_there_once(videos: Path) -> None:
    asked = [BranchRequest.parse(text).under("") for text in BRANCHES]
    whole = Run(
        manifest=read_manifest(str(videos)), store="s", branches=tuple(asked), settings=settings()
    )
    loaded = whole.load_branches()
    by_protocol = {branch.request.protocol: branch for branch in loaded}
    assert set(by_protocol) == set(LOOKS)
    assert len({id(vars(branch)["model"]) for branch in loaded if "model" in vars(branch)}) == 2
