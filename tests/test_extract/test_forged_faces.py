"""Forged views of faces: aligned as any other, then forged on the face."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from extract.branch import BranchRequest, load_branch
from extract.people.detections import Detections, detections
from extract.people.face_windows import HEADER
from extract.people.windows import shown_frames
from extract.views.blend import ellipse
from extract.views.forgeries import KINDS, kind_of_view
from extract.views.protocol import Protocol
from extract.views.view import View
from tests.test_extract.clips import picture
from tests.test_extract.faces import face, moving, written

COUNT, SIDE, FRAMES = 40, 32, 8
PROTOCOL = Protocol.parse("forged-16x8")
Windows = NDArray[np.uint8]


@pytest.fixture(scope="module")
def frames() -> dict[int, NDArray[np.uint8]]:
    return {number: picture(number, 160, 90) for number in range(COUNT)}


def looked(
    path: Path, found: Detections, frames: dict[int, NDArray[np.uint8]], views: tuple[View, ...]
) -> Windows:
    boxes = written(path / "f.parquet", {"v": found})
    branch = load_branch(BranchRequest.parse(f"faces=rgb?boxes={boxes}&frames=8&side={SIDE}"))
    assert branch.prepare.suits(PROTOCOL)
    rows: Windows = branch.prepare.load()(frames, views)
    return rows


def pictures(rows: Windows) -> Windows:
    return rows[:, HEADER:].reshape(len(rows), FRAMES, SIDE, SIDE, 3)


def views_of(seed: int = 3, name: str = PROTOCOL.name) -> tuple[View, ...]:
    return Protocol.parse(name).views("v", COUNT, seed=seed)


def unforged(views: tuple[View, ...]) -> tuple[View, ...]:
    """The same frames, as they are."""
    return tuple(
        View(index=v.index, frames=v.frames, crop=v.crop, video="v", length=COUNT, seed=v.seed,
             forgery="") for v in views
    )  # fmt: skip


def test_aligned_pictures_are_forged_in_one_region_and_nowhere_else(
    tmp_path: Path, frames: dict[int, NDArray[np.uint8]]
) -> None:
    views = views_of()
    rows = looked(tmp_path, moving(range(COUNT)), frames, views)
    assert (rows[:, 0] == 1).all()
    forged, plain = (
        pictures(each)
        for each in (rows, looked(tmp_path, moving(range(COUNT)), frames, unforged(views)))
    )
    for view, own, other in zip(views, forged, plain, strict=True):
        changed = (own != other).any(-1)
        if view.forgery in ("", "drop", "repeat"):
            assert not changed.any()
            continue
        mask_hw = ellipse(SIDE, SIDE, view.rng("forgery")) > 0
        assert changed.any(0).mean() > 0.02
        assert not (changed & ~mask_hw).any()


def test_whole_views_are_windows_as_they_are_without_forging(
    tmp_path: Path, frames: dict[int, NDArray[np.uint8]]
) -> None:
    views = views_of()
    rows = looked(tmp_path, moving(range(COUNT)), frames, views)
    every = Protocol.parse("windows-33x8:step1").views("v", COUNT)
    windows = looked(tmp_path, moving(range(COUNT)), frames, every)
    for view, row in zip(views, rows, strict=True):
        if view.forgery == "":
            np.testing.assert_array_equal(row, windows[view.frames[0]])


def test_left_out_and_repeated_frames_are_the_faults_of_motion(
    tmp_path: Path, frames: dict[int, NDArray[np.uint8]]
) -> None:
    still = detections(face(n) for n in range(COUNT))  # so that all frames are aligned alike
    views = views_of()
    shown = pictures(looked(tmp_path, still, frames, views))
    every = Protocol.parse("windows-33x8:step1").views("v", COUNT)
    alone = pictures(looked(tmp_path, still, frames, every))
    for view, clip in zip(views, shown, strict=True):
        if view.forgery in ("drop", "repeat"):
            for seen, number in zip(clip, view.frames, strict=True):
                start = min(number, COUNT - FRAMES)
                np.testing.assert_array_equal(seen, alone[start, number - start])


def test_where_a_window_begins_is_said_of_the_frames_that_it_shows(
    tmp_path: Path, frames: dict[int, NDArray[np.uint8]]
) -> None:
    """Of motion forged too; the face was there in frames 4 to 35."""
    views = [v for v in views_of() if min(v.frames) >= 4 and max((*v.frames, *v.others)) < 36]
    rows = looked(tmp_path, moving(range(4, 36)), frames, tuple(views))
    assert {"drop", "repeat", ""} <= {view.forgery for view in views}
    for view, row in zip(views, rows, strict=True):
        where = row[1:HEADER].view("<i4").tolist()
        assert where == [0, min(view.frames), 4, 36]
        consecutive = shown_frames(where[1], where[2], where[3], FRAMES) == view.frames
        assert consecutive == (view.forgery not in ("drop", "repeat"))


def test_views_follow_from_video_number_and_seed_alone(
    tmp_path: Path, frames: dict[int, NDArray[np.uint8]]
) -> None:
    two = detections(face(n, right=d) for n in range(COUNT) for d in (-50.0, 40.0))
    views = views_of()
    rows = looked(tmp_path, two, frames, views)
    np.testing.assert_array_equal(looked(tmp_path, two, frames, views[5:7]), rows[5:7])
    more = looked(tmp_path, two, frames, views_of(name="forged-24x8"))
    np.testing.assert_array_equal(more[:16], rows)
    assert (looked(tmp_path, two, frames, views_of(seed=4)) != rows).any(1).all()
    tracks = rows[:, 1:HEADER].copy().view("<i4")[:, 0]
    assert set(tracks.tolist()) == {0, 1}


def test_views_without_one_face_in_all_their_frames_are_not_there(
    tmp_path: Path, frames: dict[int, NDArray[np.uint8]]
) -> None:
    views = views_of(name="forged-64x8")
    rows = looked(tmp_path, moving(range(25)), frames, views)
    for view, row in zip(views, rows, strict=True):
        there = all(number < 25 for number in (*view.frames, *view.others))
        assert row[0] == there
        assert there or not row[HEADER:].any()
    assert {view.forgery for view, row in zip(views, rows, strict=True) if row[0]} > {"", "drop"}
    assert [view.forgery for view in views[:8]] == [kind_of_view(n) for n in range(len(KINDS))]
