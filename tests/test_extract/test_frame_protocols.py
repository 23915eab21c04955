"""Frames by time and runs of frames: what is taken, what is missing, what a name says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import BadProtocol
from extract.views.protocol import Protocol
from extract.views.rates import RULES
from extract.views.view import View

NAMES = (
    "frames-16@8", "frames-16@8:d3", "frames-16@8:stall", "frames-24@12:restrav",
    "frames-8@2:demamba", "frames-16@all", "frames-24@11.5", "windows-4x32", "windows-1x8+jpeg50",
    "windows-369x32:step1",
    "frames-8@8+blur3",
)  # fmt: skip


def only(name: str, count: int, fps: float = 24.0) -> View:
    (view,) = Protocol.parse(name).views("v", count, fps=fps)
    return view


def there(view: View) -> list[int]:
    return list(view.frames[: len(view.frames) - view.missing])


@pytest.mark.parametrize("name", NAMES)
def test_a_protocols_name_says_all_of_it(name: str) -> None:
    protocol = Protocol.parse(name)
    assert protocol.name == name
    assert Protocol.parse(protocol.name) == protocol
    described = protocol.describe()
    assert described["name"] == name
    assert described["frames"] == protocol.view_frames
    assert len({repr(Protocol.parse(other).describe()) for other in NAMES}) == len(NAMES)


def test_older_protocols_are_described_as_they_were() -> None:
    """Stores that have them go on."""
    kept = {"kind", "segments", "crops", "samples", "perturbation", "name", "frames", "revisions"}
    more = {"size", "augmentation"}
    assert set(Protocol.parse("test-4x3").describe()) == kept | more
    assert set(Protocol.parse("pairs-8").describe()) == kept | {"pairs"}


@pytest.mark.parametrize(
    "name",
    [
        "frames-16", "frames-16@", "frames-16@0", "frames-1@8", "frames-16@8:nobody",
        "frames-16@all:d3", "frames-300@8", "windows-4", "windows-0x8", "windows-4x8:step0",
        "frames-16@8:", "val+",
    ],
)  # fmt: skip
def test_what_is_no_protocol_is_refused(name: str) -> None:
    with pytest.raises(BadProtocol, match=r"give|have|there may be a rule"):
        Protocol.parse(name)


def test_the_middle_is_taken_at_the_rate() -> None:
    assert there(only("frames-4@8", 100, 24)) == [45, 48, 51, 54]
    assert only("frames-4@8", 100, 24).crop.kind == "center"
    assert there(only("frames-8@8", 100, 29.97)) == [34, 37, 41, 45, 49, 52, 56, 60]


def test_a_slow_video_gives_the_frames_it_has_in_as_many_seconds() -> None:
    """Repeated frames would look like something that does not move."""
    view = only("frames-16@8", 40, 4.0)
    assert there(view) == list(range(16, 24))
    assert view.missing == 8
    assert view.present == (True,) * 8 + (False,) * 8
    assert len(view.frames) == 16


def test_a_short_video_is_said_to_be_short() -> None:
    view = only("frames-16@8", 20, 24)
    assert there(view) == [0, 3, 6, 9, 12, 15, 18]
    assert view.frames[7:] == (18,) * 9
    nothing = only("frames-16@8:stall", 20, 24)
    assert there(nothing) == []
    assert nothing.frames == (0,) * 16


def test_the_whole_video_is_spread_over_as_v_pvp_does() -> None:
    assert there(only("frames-4@all", 10)) == [0, 3, 6, 9]
    assert there(only("frames-4@all", 3)) == [0, 1, 2, 2]


def test_demamba_takes_consecutive_ones_of_two_a_second_or_of_more_in_a_short_video() -> None:
    assert there(only("frames-8@2:demamba", 240, 24)) == [72, 84, 96, 108, 120, 132, 144, 156]
    assert there(only("frames-8@2:demamba", 48, 24)) == [0, 6, 12, 18, 24, 30, 36, 42]


def test_d3_repeats_a_slow_videos_frames_as_the_filter_does() -> None:
    assert there(only("frames-16@8:d3", 8, 4.0)) == [n // 2 for n in range(16)]


def test_frames_by_time_need_the_rate() -> None:
    with pytest.raises(BadProtocol, match="how many frames a second"):
        Protocol.parse("frames-16@8").views("v", 100)
    assert Protocol.parse("frames-16@all").views("v", 100)


def test_windows_are_runs_that_do_not_overlap() -> None:
    views = Protocol.parse("windows-3x8").views("v", 40)
    assert [there(view) for view in views] == [
        list(range(2, 10)), list(range(16, 24)), list(range(29, 37)),
    ]  # fmt: skip
    short = Protocol.parse("windows-3x8").views("v", 19)
    assert [len(there(view)) for view in short] == [8, 8, 0]
    assert [there(view) for view in Protocol.parse("windows-2x8").views("v", 3)] == [[0, 1, 2], []]


def test_windows_with_a_step_begin_one_after_the_other() -> None:
    views = Protocol.parse("windows-5x8:step3").views("v", 18)
    assert [there(view) for view in views] == [
        list(range(8)), list(range(3, 11)), list(range(6, 14)), list(range(9, 17)), [],
    ]  # fmt: skip
    many = Protocol.parse("windows-2x8:step1").views("v", 18)
    assert [there(view)[0] for view in many] == [0, 1]
    assert [there(view) for view in Protocol.parse("windows-2x8:step1").views("v", 3)] == [
        [0, 1, 2],
        [],
    ]
    assert "step" not in Protocol.parse("windows-5x8").describe()
    assert Protocol.parse("windows-5x8:step3").describe()["step"] == 3


@given(
    st.integers(1, 400),
    st.floats(1, 120),
    st.integers(2, 40),
    st.floats(0.5, 30),
    st.sampled_from(sorted(RULES)),
)
def test_any_rule_gives_frames_of_the_video_in_order(
    count: int, fps: float, frames: int, rate: float, rule: str
) -> None:
    protocol = Protocol(kind="frames", frames=frames, rate=round(rate, 2), rule=rule)
    (view,) = protocol.views("v", count, fps=fps)
    found = there(view)
    assert len(view.frames) == frames
    assert found == sorted(found)
    assert all(0 <= frame < count for frame in view.frames)
    assert view == protocol.views("another", count, fps=fps)[0].__class__(
        index=0, frames=view.frames, missing=view.missing, crop=view.crop, seed=view.seed,
        video="v", length=count,
    )  # fmt: skip
    if rule in ("", "stall"):
        assert len(set(found)) == len(found)
    if rule == "":
        assert found


@given(st.integers(1, 400), st.integers(1, 12), st.integers(1, 48))
def test_any_windows_are_inside_the_video(count: int, windows: int, frames: int) -> None:
    views = Protocol(kind="windows", windows=windows, frames=frames).views("v", count)
    runs = [there(view) for view in views]
    assert len(runs) == windows
    taken = [frame for run in runs for frame in run]
    assert taken == sorted(set(taken))
    assert all(frame < count for frame in taken)
    whole = [run for run in runs if len(run) == frames]
    assert len(whole) == min(windows, count // frames)
    assert all(run == list(range(run[0], run[0] + len(run))) for run in runs if run)
