"""The weight-free priors: what they must say of motion, colour and nothing at all."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from extract.branch import BranchRequest, load_branch
from extract.errors import BadProtocol, BadSetting, VideoError
from extract.priors import colours, flow
from extract.running.pipeline import Settings, looks_of
from extract.views.protocol import Protocol
from extract.views.sampling import adjacent_frames

Image = NDArray[np.uint8]
SEEDS = st.integers(0, 2**16)


def texture(seed: int, height: int = 96, width: int = 128) -> Image:
    """Smooth random blobs: something for flow to hold on to."""
    coarse = np.random.default_rng(seed).random((height // 8, width // 8, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((255 * smooth.clip(0, 1)), np.uint8)


def patches_moved(image: Image, seed: int, amount: float) -> Image:
    """Each part of the picture is moved by itself, by up to so many pixels."""
    height, width = image.shape[:2]
    random = np.random.default_rng(seed)
    shifts = random.uniform(-1, 1, (height // 16, width // 16, 2)).astype(np.float32) * amount
    field = cv2.resize(shifts, (width, height), interpolation=cv2.INTER_NEAREST)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    across = (columns + field[..., 0]).astype(np.float32)
    down = (rows + field[..., 1]).astype(np.float32)
    moved = cv2.remap(image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.uint8)


def warping(a: Image, b: Image) -> float:
    view = Protocol.parse("pairs-1").views("v", 2)
    return float(flow.flow_measures({0: a, 1: b}, view)[0, 0, 0])


@settings(max_examples=15)
@given(SEEDS, st.integers(-5, 5), st.integers(-5, 5))
def test_a_pure_translation_has_next_to_no_warping_error(seed: int, right: int, down: int) -> None:
    big = texture(seed, 144, 176)
    a = big[24:120, 24:152]
    b = big[24 - down : 120 - down, 24 - right : 152 - right]
    jittered = warping(a, patches_moved(b, seed, 5.0))
    assert warping(a, b) < 0.1 * jittered


@settings(max_examples=10)
@given(SEEDS)
def test_the_warping_error_rises_with_jitter(seed: int) -> None:
    a = texture(seed)
    errors = [warping(a, patches_moved(a, seed, amount)) for amount in (0.0, 1.5, 3.0, 6.0)]
    assert errors == sorted(errors)
    assert errors[0] == 0
    assert errors[-1] > errors[1] > 0


def test_grain_is_no_motion() -> None:
    a = texture(3)
    noise = np.random.default_rng(0).normal(0, 4, (2, *a.shape))
    noisy = [np.clip(a + each, 0, 255).astype(np.uint8) for each in noise]
    assert warping(noisy[0], noisy[1]) < 0.02 * warping(a, patches_moved(a, 3, 3.0))


def test_a_sunset_is_no_motion_and_a_moved_part_is_no_new_colour() -> None:
    a = texture(5)
    darker = (a * 0.8).astype(np.uint8)
    assert warping(a, darker) < 0.1 * warping(a, patches_moved(a, 5, 3.0))
    mirrored = np.ascontiguousarray(a[:, ::-1])
    curve = colours.inconsistency(np.stack([colours.histogram(x) for x in (a, mirrored, darker)]))
    assert curve[0] == 0
    assert curve[1] < 0.005 < curve[2]


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (17, 192), (200, 3)])
@pytest.mark.parametrize("function", [flow.flow_measures, colours.colour_measures])
def test_a_picture_that_stays_scores_nothing(function: object, size: tuple[int, int]) -> None:
    frames = {i: np.full((*size, 3), 90, np.uint8) for i in range(5)}
    views = Protocol.parse("pairs-4").views("v", 5)
    measures = function(frames, views)  # type: ignore[operator]
    assert measures.dtype == np.float32
    assert np.abs(measures).max() < 1e-6


@pytest.mark.parametrize("function", [flow.flow_measures, colours.colour_measures])
def test_two_frames_are_enough_and_one_is_not(function: object) -> None:
    frames = {0: texture(1), 1: texture(2)}
    protocol = Protocol.parse("pairs-16")
    measures = function(frames, protocol.views("v", 2))  # type: ignore[operator]
    assert measures.shape[:2] == (1, 16)
    assert np.isfinite(measures).all()
    assert len(np.unique(measures[0, 4:], axis=0)) == 1
    with pytest.raises(VideoError, match="one frame"):
        function(frames, protocol.views("v", 1))  # type: ignore[operator]


@pytest.mark.parametrize("function", [flow.flow_measures, colours.colour_measures])
def test_the_same_bits_on_any_number_of_threads(function: object) -> None:
    frames = {i: patches_moved(texture(7, 200, 300), i, 4.0) for i in range(4)}
    views = Protocol.parse("pairs-3").views("v", 4)
    before = cv2.getNumThreads()
    try:
        found = []
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            found.append(function(frames, views).tobytes())  # type: ignore[operator]
            assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)
    assert len(set(found)) == 1


@given(st.integers(1, 300), st.integers(1, 64))
def test_pairs_are_neighbours_evenly_placed(count: int, pairs: int) -> None:
    frames = adjacent_frames(count, pairs)
    starts, seconds = frames[::2], frames[1::2]
    assert len(starts) == len(seconds) == pairs
    assert list(starts) == sorted(starts)
    if count == 1:
        assert set(frames) == {0}
        return
    assert all(second == start + 1 for start, second in zip(starts, seconds, strict=True))
    assert 0 <= starts[0] <= seconds[-1] < count
    if count > pairs:
        assert len(set(starts)) == pairs
        gaps = np.diff(starts)
        assert pairs == 1 or gaps.max() - gaps.min() <= 1
    else:
        assert set(starts) == set(range(count - 1))


def test_a_pairs_protocol_has_a_name_and_leaves_the_others_as_they_were() -> None:
    protocol = Protocol.parse("pairs-16+blur3")
    assert protocol.name == "pairs-16+blur3"
    assert protocol.view_count == 1
    assert protocol.describe()["pairs"] == 16
    assert "pairs" not in Protocol.parse("test-4x3").describe()
    for name in ("pairs", "pairs-0", "pairs-257"):
        with pytest.raises(BadProtocol):
            Protocol.parse(name)


def test_scorers_and_networks_ask_for_views_that_suit_them() -> None:
    motion = load_branch(BranchRequest.parse("motion=dis?pairs=4"))
    network = load_branch(BranchRequest.parse("internvideo2=tiny"))
    looks_of([motion], Settings(protocol="pairs-4+jpeg50"))
    looks_of([network], Settings(protocol="test-4x3"))
    for branch, protocol in ((motion, "val"), (motion, "pairs-8"), (network, "pairs-4")):
        with pytest.raises(BadSetting, match="needs protocol"):
            looks_of([branch], Settings(protocol=protocol))


@pytest.mark.parametrize(
    "text", ["motion=flow", "motion=dis:w.pt", "motion=dis?pairs=0", "motion=dis?pairs=x",
             "spatial=dis?precision=bfloat16", "appearance=colours?bins=4"],
)  # fmt: skip
def test_what_scorers_refuse(text: str) -> None:
    with pytest.raises(BadSetting, match=r"have:|give|uses no weights|float32"):
        load_branch(BranchRequest.parse(text))


def test_motion_and_spatial_share_what_workers_make() -> None:
    motion, spatial = (load_branch(BranchRequest.parse(f"{n}=dis")) for n in ("motion", "spatial"))
    assert motion.prepare == spatial.prepare
    assert motion.offer.fingerprint != spatial.offer.fingerprint
