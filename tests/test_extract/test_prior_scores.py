"""The scorers without weights: pure motion costs nothing, noise costs more the more there is."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from extract.errors import BadSetting, VideoError
from extract.flow import compare, grey_frame, pair_errors
from extract.looks import frame_look, view_looks
from extract.manifest import read_manifest
from extract.prior_scores import load_scorers, score_videos
from extract.views import PAIRS, Protocol, adjacent_frames
from tests.test_extract.clips import write_clip

Image = NDArray[np.uint8]


def scenery(seed: int = 0) -> Image:
    """A smooth random picture, larger than what is looked at."""
    noise = np.random.default_rng(seed).integers(0, 256, (26, 34, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (340, 260), interpolation=cv2.INTER_CUBIC), np.uint8)


def moved(picture: Image, x: float, y: float) -> Image:
    """The picture seen from elsewhere."""
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    whole = cv2.warpAffine(picture, shift, (340, 260), flags=cv2.INTER_CUBIC)
    return np.asarray(whole[30:222, 30:286], np.uint8)


def warping_error(first: Image, following: Image) -> float:
    return compare(grey_frame(first), grey_frame(following)).warp


@given(st.floats(-6, 6), st.floats(-6, 6), st.integers(0, 20))
@settings(max_examples=15, deadline=None)
def test_a_translation_costs_next_to_nothing(x: float, y: float, seed: int) -> None:
    picture = scenery(seed)
    assert warping_error(moved(picture, 0, 0), moved(picture, x, y)) < 0.01


def jittered(picture: Image, amount: float, seed: int) -> Image:
    """Small patches change places at random: neighbours in a picture that do not move together."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(picture.shape[:2], np.float32)
    coarse = random.normal(0, 1, (2, 26, 34)).astype(np.float32)
    x, y = (cv2.resize(part, (340, 260), interpolation=cv2.INTER_NEAREST) for part in coarse)
    shaken = cv2.remap(picture, columns + amount * x, rows + amount * y, cv2.INTER_LINEAR)
    return np.asarray(shaken, np.uint8)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_jitter_costs_more_the_more_there_is(seed: int) -> None:
    picture = scenery(seed)
    still = moved(picture, 0, 0)
    errors = [
        warping_error(still, moved(jittered(picture, amount, seed), 2, 1))
        for amount in (0, 1, 2, 4, 8)
    ]
    assert errors == sorted(errors)
    assert errors[-1] > 4 * errors[0]


def test_constant_frames_have_no_anomaly() -> None:
    (view,) = Protocol.parse("pairs-16").views("still", 5)
    frames = {number: np.full((48, 64, 3), 90, np.uint8) for number in range(5)}
    assert not pair_errors(frames, [view]).any()
    looks = view_looks(frames, [view])
    assert np.allclose((looks**2).sum(axis=-1), 1, atol=1e-6)
    assert np.array_equal(looks[0, 0], looks[0, -1])


@given(st.integers(1, 300))
def test_pairs_are_adjacent_in_order_and_cover_the_video(count: int) -> None:
    frames = adjacent_frames(count)
    assert len(frames) == 2 * PAIRS
    pairs = list(zip(frames[::2], frames[1::2], strict=True))
    assert pairs == sorted(pairs)
    assert all(0 <= a <= b < count and b - a == min(1, count - 1) for a, b in pairs)
    assert len(set(pairs)) == max(1, min(count - 1, PAIRS))
    assert pairs[0][0] <= count // PAIRS
    assert pairs[-1][1] >= count - 1 - count // PAIRS


def test_other_protocols_and_single_frames_are_refused() -> None:
    frames = {number: np.zeros((16, 16, 3), np.uint8) for number in range(20)}
    for protocol, count, reason in (
        ("val", 20, "use protocol pairs-16"),
        ("pairs-16", 1, "single"),
    ):
        for prepare in (pair_errors, view_looks):
            with pytest.raises(VideoError, match=reason):
                prepare(frames, Protocol.parse(protocol).views("clip", count))


@pytest.mark.parametrize("size", [(2, 2), (3, 900), (900, 3)])
def test_odd_shapes_have_numbers(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = compare(grey_frame(frame), grey_frame(frame[::-1].copy()))
    assert np.isfinite([found.warp, found.rigidity]).all()
    assert np.isfinite(frame_look(frame)).all()


def test_the_number_of_threads_changes_nothing() -> None:
    picture = scenery()
    first, following = grey_frame(moved(picture, 0, 0)), grey_frame(moved(picture, 3, 1))
    threads = cv2.getNumThreads()
    found = []
    for count in (1, 2, 4):
        cv2.setNumThreads(count)
        found.append(compare(first, following))
        assert cv2.getNumThreads() == count
    cv2.setNumThreads(threads)
    assert found[0] == found[1] == found[2]


def test_good_bad_and_short_videos(tmp_path: Path) -> None:
    """And a second call computes nothing."""
    videos = tmp_path / "videos"
    videos.mkdir()
    write_clip(videos / "good.mp4", frames=9)
    write_clip(videos / "two.mp4", frames=2)
    write_clip(videos / "one.mp4", frames=1)
    (videos / "bad.mp4").write_bytes(b"not a video")
    manifest = read_manifest(videos)
    found = score_videos(manifest, tmp_path / "store.zarr", workers=1, bar=False)
    assert set(found.scores) == {"good.mp4", "two.mp4"}
    assert set(found.failures) == {"one.mp4", "bad.mp4"}
    assert "single frame" in found.failures["one.mp4"]
    for video_id, scores in found.scores.items():
        for name, score in scores.items():
            total = np.max if name == "motion" else np.mean
            assert score == pytest.approx(total(found.curves[video_id][name]), rel=1e-5)
            assert len(found.curves[video_id][name]) == PAIRS
    assert len(set(found.curves["two.mp4"]["motion"])) == 1
    again = score_videos(manifest, tmp_path / "store.zarr", workers=1, bar=False)
    assert (again.scores, again.curves) == (found.scores, found.curves)
    assert json.dumps(found.scorers)


def test_scorers_say_what_they_do_not_take() -> None:
    from extract.branch import BranchRequest, load_branch

    for text, reason in (
        ("motion=raft", "have: dis"),
        ("appearance=palette:/w.pt", "takes no weights"),
        ("spatial=rigidity?precision=float16", "computes in float32"),
        ("motion=dis?size=3", "no option 'size'"),
    ):
        with pytest.raises(BadSetting, match=reason):
            load_branch(BranchRequest.parse(text))
    assert len({scorer.fingerprint for scorer in load_scorers()}) == 3
