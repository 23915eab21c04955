"""Training clips that jump, halt or are blended, by the protocol's name."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from extract.errors import BadProtocol
from extract.views.blend import blended
from extract.views.clip_changes import ClipChange
from extract.views.protocol import Protocol
from extract.views.sampling import CLIP_FRAMES
from extract.views.transforms import depth_frames, depth_inputs, view_clips, view_frames

COUNT = 960


def clips(name: str) -> list[tuple[int, ...]]:
    return [view.frames for view in Protocol.parse(name).views("a.mp4", COUNT, seed=3)]


def test_dropping_and_repeating_happen_as_often_as_they_should() -> None:
    protocol = Protocol.parse("train-200:drop0.25:repeat0.5+blur3")
    assert Protocol.parse(protocol.name) == protocol
    assert protocol.changes == (
        ClipChange(kind="drop", share=0.25), ClipChange(kind="repeat", share=0.5),
    )  # fmt: skip
    found = clips(protocol.name)
    assert all(len(clip) == CLIP_FRAMES and list(clip) == sorted(clip) for clip in found)
    repeated = sum(len(set(clip)) < CLIP_FRAMES for clip in found)
    assert 80 <= repeated <= 120
    plain = clips("train-200+blur3")
    same = sum(a == b for a, b in zip(found, plain, strict=True))
    assert 50 <= same <= 100  # 75 are left alone
    assert found == clips(protocol.name)


def test_a_drop_leaves_a_gap_of_more_than_a_segment() -> None:
    for clip in clips("train-50:drop1"):
        steps = [b - a for a, b in pairwise(clip)]
        assert len(set(clip)) == CLIP_FRAMES
        assert max(steps) > COUNT / 9


def test_short_videos_have_clips_too() -> None:
    for count in (1, 3, 8):
        for view in Protocol.parse("train-20:drop0.5:repeat0.5").views("a.mp4", count):
            assert len(view.frames) == CLIP_FRAMES
            assert set(view.frames) <= set(range(count))


def test_what_stores_say_of_plain_protocols_has_not_changed() -> None:
    assert "changes" not in Protocol.parse("train-8").describe()
    assert Protocol.parse("train-8:drop0.1").describe()["changes"] == (
        {"kind": "drop", "share": 0.1},
    )


def test_a_blend_is_one_seam_that_stays_put() -> None:
    """On frames that are all alike, all blended frames are alike too, and most is untouched."""
    frame_hwc = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    for seed in range(20):
        found = blended([frame_hwc] * 3, np.random.default_rng(seed))
        changed_hw = (found[0] != frame_hwc).any(-1)
        assert all(np.array_equal(one, found[0]) for one in found)
        assert 0.03 < changed_hw.mean() < 0.75
        assert not changed_hw[[0, 0, -1, -1], [0, -1, 0, -1]].any()  # corners


def test_the_video_and_the_depth_network_see_the_same_blend() -> None:
    rng = np.random.default_rng(1)
    frames = {number: rng.integers(0, 256, (72, 96, 3), np.uint8) for number in range(COUNT)}
    plain, views = (
        Protocol.parse(name).views("a.mp4", COUNT, seed=3)
        for name in ("train-9", "train-9:blend0.5")
    )
    is_blended = [view.blended for view in views]
    assert 1 < sum(is_blended) < 8
    assert [view.frames for view in views] == [view.frames for view in plain]

    clips, plain_clips = view_clips(frames, views), view_clips(frames, plain)
    depth, plain_depth = depth_inputs(frames, views), depth_inputs(frames, plain)
    for row, changed in enumerate(is_blended):
        assert np.array_equal(clips[row], plain_clips[row]) != changed
        assert np.array_equal(depth[row], plain_depth[row]) != changed
        whole = view_frames(frames, views[row])
        assert _same(depth_frames(frames, views[row]), [whole[0], whole[3]])


def _same(a: list[NDArray[np.uint8]], b: list[NDArray[np.uint8]]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_views_that_share_frames_keep_their_own_blends() -> None:
    """A short video's views have all the same frames."""
    frames = {n: np.full((64, 64, 3), 40 * n, np.uint8) + np.eye(64, dtype=np.uint8)[..., None] * 9
              for n in range(4)}  # fmt: skip
    views = Protocol.parse("train-6:blend1").views("b.mp4", 4)
    assert len({view.frames for view in views}) == 1
    together = depth_inputs(frames, views)
    for row, view in enumerate(views):
        assert np.array_equal(together[row], depth_inputs(frames, [view])[0])


@pytest.mark.parametrize("name", ["train-8:drop", "train-8:drop0", "train-8:drop2", "val:drop0.5",
                                  "train-8:repeat0.1:drop0.1", "train-8:drop1.2.3", "train-8:blend",
                                  "train-8:blend0.1:blend0.1"])  # fmt: skip
def test_changes_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(BadProtocol, match=r"give|have"):
        Protocol.parse(name)
