"""Training clips that jump or halt, by the protocol's name."""

from itertools import pairwise

import pytest

from extract.clip_changes import ClipChange
from extract.errors import BadProtocol
from extract.views import CLIP_FRAMES, Protocol

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


@pytest.mark.parametrize("name", ["train-8:drop", "train-8:drop0", "train-8:drop2", "val:drop0.5",
                                  "train-8:repeat0.1:drop0.1", "train-8:drop1.2.3"])  # fmt: skip
def test_changes_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(BadProtocol, match=r"give|have"):
        Protocol.parse(name)
