"""Protocol names, seeds, augmentation, perturbation: the same view whatever happens."""

import hashlib
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.decoding.frames import read_frames
from extract.decoding.video import open_video
from extract.errors import BadProtocol
from extract.views import augment
from extract.views.damage import RECIPE, Perturbation
from extract.views.frame_hash import frame_hash, video_hashes
from extract.views.perturb import MIXED, X264, Image, held_frame, perturb_frame, reencode
from extract.views.protocol import Protocol
from extract.views.transforms import view_clip, view_clips
from extract.views.view import Crop, View, needed_frames, view_seed
from tests.test_extract.clips import picture, write_clip

PERTURBATIONS = st.one_of(
    st.none(),
    st.sampled_from([Perturbation(kind=kind) for kind in ("mixed", "letterbox", "screen")]),
    st.integers(2, 240).map(lambda n: Perturbation(kind="rate", amount=n / 2)),
    st.integers(1, 40).map(lambda n: Perturbation(kind="blur", amount=n / 4)),
    st.integers(1, 100).map(lambda n: Perturbation(kind="jpeg", amount=n)),
    st.integers(1, 20).map(lambda n: Perturbation(kind="resize", amount=n / 20)),
    st.integers(0, 51).map(lambda n: Perturbation(kind="h264crf", amount=n)),
    st.integers(1, 20).map(lambda n: Perturbation(kind="blurjpeg", amount=n / 20)),
)
PROTOCOLS = st.one_of(
    st.builds(Protocol, kind=st.just("val"), canonical=st.booleans(), perturbation=PERTURBATIONS),
    st.builds(
        Protocol,
        kind=st.just("test"),
        segments=st.integers(1, 64),
        crops=st.integers(1, 16),
        perturbation=PERTURBATIONS,
    ),
    st.builds(
        Protocol, kind=st.just("train"), samples=st.integers(1, 256), perturbation=PERTURBATIONS
    ),
)


@given(PROTOCOLS)
def test_names_round_trip(protocol: Protocol) -> None:
    assert Protocol.parse(protocol.name) == protocol
    assert protocol.describe()["name"] == protocol.name


@given(PROTOCOLS, st.integers(1, 400), st.text(max_size=20), st.integers(0, 2**31))
def test_views_are_valid_and_repeatable(
    protocol: Protocol, count: int, video_id: str, seed: int
) -> None:
    views = protocol.views(video_id, count, seed=seed)
    assert len(views) == protocol.view_count
    assert views == protocol.views(video_id, count, seed=seed)
    for view in views:
        assert len(view.frames) == 8
        assert list(view.frames) == sorted(view.frames)
        assert 0 <= view.frames[0] <= view.frames[-1] < count
        assert 0 <= view.seed < 2**63
    assert set(needed_frames(views)) <= set(range(count))


@pytest.mark.parametrize(
    "name",
    ["", "vall", "test", "test-0x3", "test-4", "train-0", "train-257", "val+", "val+blur",
     "val+blur99", "val+jpeg0", "val+jpeg50.5", "val+resize2", "val+h264crf52", "val+mixed3",
     "val+fog3", "val+blur1.2.3", "val+blur3+jpeg50", "val+rate", "val+rate0", "val+screen2",
     "val+jpeg50+canonical", "val+canonical2"],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadProtocol, match=r"have:|give|takes no number|not a number"):
        Protocol.parse(name)


def test_seeds_tell_runs_videos_and_views_apart() -> None:
    seeds = {view_seed(run, video, index) for run in (0, 1) for video in "ab" for index in (0, 11)}
    assert len(seeds) == 8
    assert view_seed(1, "1", 1) != view_seed(11, "", 1)
    assert view_seed(0, "a.mp4", 0) == 3084867327489479048


def test_train_views_are_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        "import hashlib\n"
        "from tests.test_extract.clips import picture\n"
        "from extract.views.transforms import view_clips\n"
        "from extract.views.protocol import Protocol\n"
        "views = Protocol.parse('train-8').views('a/b.mp4', 50, seed=3)\n"
        "clips = view_clips({n: picture(n, 120, 90) for n in range(50)}, views[::-1])[::-1]\n"
        "print(hashlib.sha256(clips.tobytes()).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    views = Protocol.parse("train-8").views("a/b.mp4", 50, seed=3)
    frames = {number: picture(number, 120, 90) for number in range(50)}
    alone = np.stack([view_clip(frames, view) for view in views])
    assert done.stdout.strip() == hashlib.sha256(alone.tobytes()).hexdigest()
    assert len({clip.tobytes() for clip in alone}) == 8


@pytest.mark.parametrize("name", list(augment._OPERATIONS))
def test_every_operation_keeps_shape_and_type(name: str) -> None:
    image = picture(5, 61, 47)
    for part, sign in ((0.0, 1.0), (0.7, -1.0), (1.0, 1.0)):
        made = augment._OPERATIONS[name](part, sign)(image)
        assert made.shape == image.shape
        assert made.dtype == np.uint8
        assert image.tobytes() == picture(5, 61, 47).tobytes()
    flat = np.full((20, 30, 3), 77, np.uint8)
    assert augment._OPERATIONS[name](0.7, 1.0)(flat).shape == flat.shape


def test_operations_do_what_they_say() -> None:
    image = picture(3, 64, 48)
    operations = {name: make(0.7, 1.0)(image) for name, make in augment._OPERATIONS.items()}
    np.testing.assert_array_equal(operations["invert"], 255 - image)
    assert set(np.unique(operations["posterize"])) <= {0, 64, 128, 192}
    np.testing.assert_array_equal(operations["solarize"], np.where(image < 77, image, 255 - image))
    added = np.minimum(image.astype(int) + 77, 255)
    np.testing.assert_array_equal(operations["solarize_add"], np.where(image < 128, added, image))
    bright = np.clip(image * 1.63, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(operations["brightness"], bright)
    stretched = augment._OPERATIONS["autocontrast"](0, 1)((image // 4 + 60).astype(np.uint8))
    assert (stretched.min(), stretched.max()) == (0, 255)
    shift = round(0.7 * 0.45 * 64, 1)
    moved = augment._OPERATIONS["translate_x"](10 / (64 * 0.45), 1.0)(image)
    assert shift > 10
    np.testing.assert_array_equal(moved[:, :54], image[:, 10:])
    assert (moved[:, 56:] == 128).all()
    turned = augment._OPERATIONS["rotate"](1.0, 1.0)(image)
    assert (turned[0, 0] == 128).all()
    np.testing.assert_array_equal(augment._OPERATIONS["rotate"](0.0, 1.0)(image), image)


def test_augmentation_has_the_released_distribution() -> None:
    rng = np.random.default_rng(0)
    counts = [len(augment.draw_operations(rng)) for _ in range(2000)]
    assert np.mean(counts) == pytest.approx(2.0, abs=0.1)
    boxes = [augment.draw_crop(240, 320, rng) for _ in range(2000)]
    areas = np.array([box.height * box.width / (240 * 320) for box in boxes])
    aspects = np.array([box.width / box.height for box in boxes])
    assert 0.07 < areas.min() < 0.12
    assert areas.max() <= 1
    assert 0.72 < aspects.min() < aspects.max() < 1.38
    assert all(box.top + box.height <= 240 and box.left + box.width <= 320 for box in boxes)
    clip = np.zeros((2, 64, 64, 3), np.uint8)
    erased = [augment.erase(clip.copy(), rng) for _ in range(2000)]
    assert np.mean([box is not None for box in erased]) == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 2000), (2000, 4), (131, 77)])
def test_any_size_can_be_augmented(height: int, width: int) -> None:
    views = Protocol.parse("train-8").views("v", 3)
    frames = {number: picture(number, width, height) for number in range(3)}
    assert view_clips(frames, views).shape == (8, 8, 224, 224, 3)


def test_an_unknown_augmentation_is_refused() -> None:
    view = View(index=0, frames=(0,) * 8, crop=Crop(kind="random"), augmentation="rand-m9", seed=1)
    with pytest.raises(BadProtocol, match="have: rand-m7"):
        view_clip({0: picture(0, 32, 32)}, view)


def test_perturbed_frames() -> None:
    image = picture(9, 160, 120)
    blurred = perturb_frame(image, Perturbation.parse("blur3"))
    np.testing.assert_array_equal(blurred, cv2.GaussianBlur(image, (0, 0), 3))
    errors = []
    for quality in (90, 50):
        jpeg = perturb_frame(image, Perturbation.parse(f"jpeg{quality}"))
        errors.append(np.abs(jpeg.astype(int) - image).mean())
    assert 0 < errors[0] < errors[1] < 30
    assert perturb_frame(image, Perturbation.parse("resize0.7")).shape == (84, 112, 3)
    mixed = perturb_frame(image, Perturbation.parse("mixed"))
    steps = image
    for step in MIXED:
        steps = perturb_frame(steps, step)
    np.testing.assert_array_equal(mixed, steps)


@pytest.mark.parametrize("size", [(96, 64), (77, 131)])
def test_reencoding_keeps_every_frame_in_place(size: tuple[int, int]) -> None:
    frames = [picture(number, *size) for number in range(40)]
    sharp = list(reencode(iter(frames), {**X264, "crf": "1"}, Fraction(25)))
    rough = list(reencode(iter(frames), {**X264, "crf": "40"}, Fraction(25)))
    assert len(sharp) == len(rough) == 40
    for number, image in enumerate(sharp):
        distances = [np.abs(image.astype(int) - frame).mean() for frame in frames]
        assert int(np.argmin(distances)) == number
        assert np.abs(rough[number].astype(int) - frames[number]).mean() > distances[number]


def test_a_perturbed_protocol_reads_perturbed_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4", frames=20)
    with open_video(path) as video:
        plain = read_frames(video, Protocol.parse("val").views("v", 20))
        coded = read_frames(video, Protocol.parse("val+h264crf35").views("v", 20))
        small = read_frames(video, Protocol.parse("val+resize0.5").views("v", 20))
    assert plain.keys() == coded.keys() == small.keys()
    for number, image in plain.items():
        assert small[number].shape == (32, 48, 3)
        assert 0 < np.abs(coded[number].astype(int) - image).mean() < 40


def test_reencoding_gives_the_same_frames_every_time() -> None:
    frames = [picture(number, 96, 64) for number in range(20)]
    first = list(reencode(iter(frames), {**X264, "crf": "23"}, Fraction(25)))
    for _ in range(8):
        again = list(reencode(iter(frames), {**X264, "crf": "23"}, Fraction(25)))
        np.testing.assert_array_equal(first, again)


def test_the_canonical_encoding_is_the_same_whatever_came_before(tmp_path: Path) -> None:
    """Two files of one clip, coded differently, come nearer to each other; damage comes after."""
    frames = {}
    for name, options in (("fine", {"crf": "12"}), ("rough", {"crf": "30", "g": "5"})):
        path = write_clip(tmp_path / f"{name}.mp4", frames=20, options=options)
        with open_video(path) as video:
            for protocol in ("val", "val+canonical", "val+canonical+letterbox"):
                views = Protocol.parse(protocol).views("v", 20)
                frames[name, protocol] = read_frames(video, views)
            expected = dict(enumerate(reencode(video.every_frame(), RECIPE, video.rate)))
        for number, image in frames[name, "val+canonical"].items():
            np.testing.assert_array_equal(image, expected[number])
        assert next(iter(frames[name, "val+canonical+letterbox"].values())).shape == (96, 96, 3)
    assert Protocol.parse("val+canonical").describe()["canonical"] == RECIPE
    assert "canonical" not in Protocol.parse("val+jpeg50").describe()


def test_a_lower_rate_holds_frames() -> None:
    """24 a second shown 12 times: every other frame, twice; a higher rate leaves all there."""
    held = [held_frame(number, Fraction(24), 12) for number in range(8)]
    assert held == [0, 0, 2, 2, 4, 4, 6, 6]
    assert [held_frame(n, Fraction(25), 60) for n in range(50)] == list(range(50))
    odd = [held_frame(n, Fraction(30000, 1001), 24) for n in range(200)]
    assert len(set(odd)) == 160  # 24 of 29.97
    assert all(source <= number for number, source in enumerate(odd))


def test_training_damage_is_drawn_for_each_frame_of_each_video_and_seed(tmp_path: Path) -> None:
    def seen(video_id: str, protocol: str, seed: int = 0) -> dict[int, Image]:
        return read_frames(video, Protocol.parse(protocol).views(video_id, 16, seed=seed))

    with open_video(write_clip(tmp_path / "v.mp4", frames=16)) as video:
        plain, half = seen("v", "frames-16@all"), seen("v", "frames-16@all+blurjpeg0.5")
        assert_same(half, seen("v", "frames-16@all+blurjpeg0.5"))
        shared = seen("v", "val+blurjpeg0.5")
        assert_same({number: half[number] for number in shared}, shared)
        whole = {number for number in plain if np.array_equal(plain[number], half[number])}
        assert 0 < len(whole) < 10  # a quarter of them, on average
        for other in (seen("w", "frames-16@all+blurjpeg0.5"), seen("v", "val+blurjpeg0.5", 1)):
            assert any(not np.array_equal(half[number], other[number]) for number in other)
        always = seen("v", "val+blurjpeg1")
        assert not any(np.array_equal(plain[number], always[number]) for number in always)


def assert_same(first: dict[int, Image], second: dict[int, Image]) -> None:
    assert first.keys() == second.keys()
    for number, image in first.items():
        np.testing.assert_array_equal(image, second[number])


def test_letterbox_and_screen_are_of_the_frame_alone() -> None:
    image = picture(9, 160, 120)
    boxed = perturb_frame(image, Perturbation.parse("letterbox"))
    np.testing.assert_array_equal(boxed[20:140], image)
    assert not boxed[:20].any()
    assert not boxed[140:].any()
    filmed = perturb_frame(image, Perturbation.parse("screen"))
    assert filmed.shape == image.shape
    assert 2 < np.abs(filmed.astype(int) - image).mean() < 40
    np.testing.assert_array_equal(filmed, perturb_frame(image, Perturbation.parse("screen")))
    grey = np.full((40, 60, 3), 100, np.uint8)
    assert abs(int(perturb_frame(grey, Perturbation.parse("screen")).mean()) - 100) < 3


def test_copies_of_a_video_have_nearly_the_same_hashes(tmp_path: Path) -> None:
    """Another size and coarser coding change few bits; another picture changes many."""
    random = np.random.default_rng(0)
    scenes = [
        np.asarray(cv2.resize(random.integers(0, 255, (6, 8, 3), np.uint8), (320, 240)), np.uint8)
        for _ in range(3)
    ]
    first = frame_hash(scenes[0])
    copy = perturb_frame(scenes[0], Perturbation.parse("mixed"))
    apart = [int(first ^ frame_hash(image)) & (2**64 - 1) for image in (copy, *scenes[1:])]
    near, *far = [bits.bit_count() for bits in apart]
    assert near <= 4
    assert min(far) > 16
    assert frame_hash(np.full((40, 60, 3), 7, np.uint8)) == 0
    (view,) = Protocol.parse("val").views("v", 80)
    hashes = video_hashes({number: scenes[number % 3] for number in view.frames}, [view])
    assert len(hashes) == 4
    assert hashes[0] == frame_hash(scenes[view.frames[0] % 3])
