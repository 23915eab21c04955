"""Forged clips: each kind has the fault that it claims, and no other."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from extract.errors import BadProtocol
from extract.views.blend import ellipse
from extract.views.forgeries import ANOMALIES, KINDS, WHOLE, kind_of_view
from extract.views.looks import look_at
from extract.views.protocol import Protocol
from extract.views.transforms import depth_frames, view_clips, view_frames
from extract.views.view import View, needed_frames
from tests.test_extract.clips import picture

COUNT = 60
PICTURES = ("warp", "deform", "colour", "blend", "self")
"""Kinds that change what frames show; the others change which are shown."""
Image = NDArray[np.uint8]


def views_of(kind: str, name: str = "forged-16x12", count: int = COUNT) -> list[View]:
    views = Protocol.parse(name).views("a.mp4", count, seed=3)
    return [view for view in views if view.forgery == kind]


@pytest.fixture(scope="module")
def frames() -> dict[int, Image]:
    return {number: picture(number, 96, 128) for number in range(COUNT)}


@pytest.fixture(scope="module")
def still(frames: dict[int, Image]) -> dict[int, Image]:
    """A video in which nothing moves, but for its second half, which is another picture."""
    return {number: frames[0 if number < COUNT // 2 else 40] for number in range(COUNT)}


def test_views_are_whole_or_forged_in_turn() -> None:
    views = Protocol.parse("forged-19").views("a.mp4", COUNT, seed=3)
    assert [view.forgery for view in views] == [kind_of_view(i) for i in range(19)]
    assert [view.forgery for view in views[:8]] == [WHOLE, *ANOMALIES]
    assert set(ANOMALIES.values()) == {"motion", "spatial", "appearance"}
    assert len({view.frames[0] for view in views}) > 8  # somewhere in the video


def test_views_follow_from_video_number_and_seed_alone() -> None:
    protocol = Protocol.parse("forged-9x16+blur3")
    assert Protocol.parse(protocol.name) == protocol
    assert protocol.views("a.mp4", 90, seed=3) == protocol.views("a.mp4", 90, seed=3)
    assert protocol.views("a.mp4", 90, seed=4) != protocol.views("a.mp4", 90, seed=3)
    more = Protocol.parse("forged-17x16+blur3").views("a.mp4", 90, seed=3)
    assert more[:9] == protocol.views("a.mp4", 90, seed=3)
    with pytest.raises(BadProtocol):
        Protocol.parse("forged-0")


@pytest.mark.parametrize("kind", [WHOLE, *PICTURES])
def test_forgeries_of_pictures_show_frames_that_follow_each_other(kind: str) -> None:
    for view in views_of(kind):
        assert all(b == a + 1 for a, b in pairwise(view.frames))


def test_dropped_frames_leave_a_jump_and_nothing_else() -> None:
    for view in views_of("drop", "forged-64x12"):
        steps = [b - a for a, b in pairwise(view.frames)]
        assert min(steps) >= 1
        assert 1 <= sum(steps) - 11 <= 3


def test_repeated_frames_halt_and_nothing_else() -> None:
    for view in views_of("repeat", "forged-64x12"):
        steps = [b - a for a, b in pairwise(view.frames)]
        assert set(steps) == {0, 1}
        assert 1 <= steps.count(0) <= 3


@pytest.mark.parametrize("kind", [WHOLE, "drop", "repeat"])
def test_forgeries_of_motion_leave_every_picture_as_it_is(
    kind: str, frames: dict[int, Image]
) -> None:
    for view in views_of(kind):
        for seen, number in zip(view_frames(frames, view), view.frames, strict=True):
            assert np.array_equal(seen, frames[number])


@pytest.mark.parametrize("kind", PICTURES)
def test_a_region_is_changed_and_what_is_around_it_is_not(
    kind: str, frames: dict[int, Image]
) -> None:
    for view in views_of(kind):
        found = view_frames(frames, view)
        changed = np.zeros((128, 96), bool)
        for seen, number in zip(found, view.frames, strict=True):
            changed |= (seen != frames[number]).any(-1)
        mask = ellipse(128, 96, view.rng("forgery")) > 0
        assert 0.02 < changed.mean() < 0.9
        assert not (changed & ~mask).any()


@pytest.mark.parametrize("kind", ["deform", "colour", "blend", "self"])
def test_what_is_drawn_once_for_a_clip_does_not_flicker(kind: str, still: dict[int, Image]) -> None:
    def shown(numbers: tuple[int, ...]) -> int:
        return len({still[number].tobytes() for number in numbers})

    views = [
        view
        for view in views_of(kind, "forged-64x12")
        if shown(view.frames) == 1 and shown(view.others) <= 1  # no cut in it
    ]
    assert len(views) > 3
    for view in views:
        first, *others = view_frames(still, view)
        assert all(np.array_equal(first, other) for other in others)
        assert not np.array_equal(first, still[view.frames[0]])


def test_a_warp_moves_where_nothing_does(still: dict[int, Image]) -> None:
    moved = [view_frames(still, view) for view in views_of("warp")]
    assert any(not np.array_equal(clip[0], clip[3]) for clip in moved)


def test_a_bent_region_has_the_colours_it_had(frames: dict[int, Image]) -> None:
    flat = {number: np.full((128, 96, 3), (90, 140, 30), np.uint8) for number in frames}
    for kind in ("warp", "deform"):
        for view in views_of(kind):
            assert all((seen == flat[0]).all() for seen in view_frames(flat, view))
    for kind in ("colour", "self"):
        for view in views_of(kind):
            assert all((seen != flat[0]).any() for seen in view_frames(flat, view))


def test_a_blend_shows_another_moment(still: dict[int, Image]) -> None:
    for view in views_of("blend"):
        assert len(view.others) == len(view.frames)
        assert not set(view.others) & set(view.frames)
        assert set(view.others) <= set(needed_frames([view]))


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_short_videos_are_forged_with_what_they_have(count: int) -> None:
    views = Protocol.parse("forged-24x12").views("a.mp4", count, seed=1)
    frames = {number: picture(number, 32, 40) for number in range(count)}
    for view in views:
        assert set(needed_frames([view])) <= set(range(count))
        assert len(view_frames(frames, view)) == 12


def test_every_network_sees_the_forged_pictures(frames: dict[int, Image]) -> None:
    (view, *_) = views_of("colour", "forged-16")
    whole = view_frames(frames, view)
    clip = view_clips(frames, [view])[0]
    plain = view_clips(frames, [View(
        index=0, frames=view.frames, crop=view.crop, size=view.size, seed=0
    )])[0]  # fmt: skip
    assert not np.array_equal(clip, plain)
    assert [np.array_equal(a, b) for a, b in zip(
        depth_frames(frames, view), (whole[0], whole[3]), strict=True
    )] == [True, True]  # fmt: skip
    looked = look_at(frames, [view], height=96, width=96, short=96)
    unforged = look_at({**frames}, [View(
        index=0, frames=view.frames, crop=view.crop, seed=0
    )], height=96, width=96, short=96)  # fmt: skip
    assert looked[0, :, 0].all()
    assert not np.array_equal(looked, unforged)


def test_a_store_says_how_views_were_forged() -> None:
    said = Protocol.parse("forged-8x12").describe()
    assert said["kinds"] == list(KINDS)
    assert {"forged", "blend"} <= set(said["revisions"])
    assert "kinds" not in Protocol.parse("windows-8x12").describe()
