"""Chosen frames against a full scan, from both decoders, on awkward files."""

import errno
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from extract.decoding.containers import Limits, media_error
from extract.decoding.video import open_video
from extract.errors import BadSetting, DamagedVideo, NotAFile, NotAVideo, OverLimit
from tests.test_extract.clips import (
    full_scan,
    given_clips,
    picture,
    rotate_metadata,
    write_audio,
    write_clip,
)
from tests.test_extract.fuzz.mutations import more_tracks

B_FRAMES = {"preset": "medium", "crf": "20", "bf": "3"}
KINDS = {
    "short-gop": {"options": {**B_FRAMES, "g": "12"}},
    "long-gop": {"options": {**B_FRAMES, "g": "250"}, "frames": 70},
    "open-gop": {
        "options": {**B_FRAMES, "g": "10", "x264-params": "open-gop=1:scenecut=0:bframes=3"},
        "frames": 61,
    },
    "odd-size": {"size": (77, 131)},
    "one-frame": {"frames": 1},
    "three-frames": {"frames": 3},
    "mpeg4": {"codec": "mpeg4", "options": {"g": "8", "bf": "2"}, "frames": 37},
    "hevc": {
        "codec": "libx265",
        "options": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=10:pools=none"},
        "frames": 33,
    },
    "variable-rate": {"times": [number * 4 + (number % 3) for number in range(30)]},
}


@pytest.fixture(scope="module", params=KINDS)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / f"{request.param}.mp4"
    return write_clip(path, **KINDS[request.param])  # type: ignore[arg-type]


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_chosen_frames_are_those_of_a_full_scan(clip: Path, decoder: str) -> None:
    expected = full_scan(clip)
    rng = np.random.default_rng(0)
    with open_video(clip, decoder=decoder) as video:
        assert video.info.frames == len(expected)
        choices = [[0], [len(expected) - 1], list(range(len(expected)))]
        choices += [rng.integers(len(expected), size=size).tolist() for size in (1, 2, 8, 8)]
        for choice in choices:
            found = video.read(choice)
            assert sorted(found) == sorted(set(choice))
            for number, image in found.items():
                np.testing.assert_array_equal(image, expected[number])


def test_decord_is_not_trusted_with_an_open_gop(clip: Path) -> None:
    with open_video(clip, decoder="decord") as video:
        if clip.stem in ("open-gop", "hevc"):
            assert video.info.open_gop == (video.info.decoder == "pyav")
        assert video.info.open_gop or clip.stem != "open-gop"


@pytest.mark.parametrize("path", given_clips()[::8], ids=lambda path: path.stem)
def test_both_decoders_agree_on_given_clips(path: Path) -> None:
    """Also where decord cannot open the file, or would number its frames otherwise."""
    with open_video(path) as video:
        count = video.info.frames
        chosen = [count // 3, count // 2, count - 1]
        ours = video.read(chosen)
    with open_video(path, decoder="decord") as video:
        assert video.info.frames == count
        theirs = video.read(chosen)
    for number in chosen:
        np.testing.assert_array_equal(ours[number], theirs[number])


def test_decord_decodes_what_it_can(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "plain.mp4")
    with open_video(path, decoder="decord") as video:
        video.read([0, 7])
        assert video.info.decoder == "decord"


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_rotation_is_honoured(tmp_path: Path, degrees: int, decoder: str) -> None:
    path = write_clip(tmp_path / "turned.mp4", frames=9)
    plain = full_scan(path)
    rotate_metadata(path, degrees)
    with open_video(path, decoder=decoder) as video:
        found = video.read([0, 5])
        size = (video.info.height, video.info.width)
    for number, image in found.items():
        np.testing.assert_array_equal(image, np.rot90(plain[number], -degrees // 90))
        assert image.shape[:2] == size


def test_limits_name_themselves(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4")
    for limits, said in (
        (Limits(max_pixels=1000), "96x64 is more than 1,000 pixels"),
        (Limits(max_seconds=0.5), "it lasts 1 s, longer than 0.5"),
        (Limits(max_bytes=100), "bytes; at most 100"),
    ):
        with pytest.raises(OverLimit, match=said), open_video(path, limits=limits):
            pass
    with pytest.raises(BadSetting, match="max_pixels is 0"):
        Limits(max_pixels=0)
    with pytest.raises(BadSetting, match="have: pyav, decord"), open_video(path, decoder="opencv"):
        pass


def test_truncation_is_no_shorter_video(tmp_path: Path) -> None:
    """With the index in front a cut file still opens: it must not pass for a whole one."""
    for container in ("mp4", "mkv"):
        options = {**B_FRAMES, "g": "12"}
        path = write_clip(tmp_path / f"v.{container}", frames=60, options=options)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises((NotAVideo, DamagedVideo)), open_video(path) as video:
            video.read(range(video.info.frames))


def test_a_script_that_names_a_neighbour_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "neighbour.mp4")
    for text, said in (
        ("ffconcat version 1.0\nfile neighbour.mp4\n", "ffconcat"),
        ("#EXTM3U\n#EXTINF:1,\nneighbour.mp4\n", "HLS"),
        ("<MPD></MPD>", "XML"),
        ("file neighbour.mp4\n", "no video container"),
    ):
        path = tmp_path / "script.mp4"
        path.write_text(text)
        with pytest.raises(NotAVideo, match=said), open_video(path):
            pass


@pytest.mark.parametrize(
    "name", ["concat:a.mp4", "pipe:0.mp4", "-v.mp4", "http:/x.mp4", "a\nb.mp4"]
)
def test_names_are_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write_clip(tmp_path / "plain.mp4").rename(path)
    monkeypatch.chdir(tmp_path)
    for decoder in ("pyav", "decord"):
        with open_video(name, decoder=decoder) as video:
            assert len(video.read([0, 29])) == 2


def test_what_is_no_file_or_no_video(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    outside = write_clip(tmp_path / "v.mp4")
    link = tmp_path / "inside" / "link.mp4"
    link.symlink_to(outside)
    with pytest.raises(NotAFile, match="leaves the"), open_video(link, root=tmp_path / "inside"):
        pass
    with open_video(link, root=tmp_path) as video:
        assert video.info.frames == 30
    with pytest.raises(NotAFile, match="No such file"), open_video(tmp_path / "gone.mp4"):
        pass
    with (
        pytest.raises(NotAVideo, match="no video stream"),
        open_video(write_audio(tmp_path / "a.mp4")),
    ):
        pass


def test_tags_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    """Old tools write them as Latin-1."""
    path = write_clip(tmp_path / "v.mkv", title="Zürich")
    data = path.read_bytes()
    utf8, latin = "Zürich".encode(), b"Z\xfcrich "
    assert utf8 in data
    path.write_bytes(data.replace(utf8, latin))
    with open_video(path) as video:
        assert video.info.frames == len(video.read(range(30))) == 30


def test_a_codec_that_nobody_knows_is_a_reason(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"none"))
    with pytest.raises(NotAVideo, match="no decoder knows"), open_video(path):
        pass


def test_a_file_of_a_thousand_streams_is_refused_at_once(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4", frames=3)
    path.write_bytes(more_tracks(path.read_bytes(), 1000))
    with pytest.raises(OverLimit, match="more than 100 streams"), open_video(path):
        pass
    path = write_clip(tmp_path / "few.mp4", frames=3)
    path.write_bytes(more_tracks(path.read_bytes(), 3))
    with open_video(path) as video:
        assert video.info.frames == 3


def test_frames_outside_the_video_are_a_mistake(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "v.mp4")) as video:
        with pytest.raises(BadSetting, match=r"Frames 3…30 of 30"):
            video.read([3, 30])
        assert video.read([]) == {}


def test_memory_that_is_refused_is_no_damage() -> None:
    for number, kind in ((errno.ENOMEM, OverLimit), (errno.EIO, DamagedVideo)):
        error = av.error.FFmpegError(number, "refused")
        assert type(media_error(error, "it cannot be read")) is kind


@pytest.mark.parametrize(("suffix", "codec"), [("gif", "gif"), ("mkv", "ffv1"), ("avi", "mjpeg")])
def test_other_containers(tmp_path: Path, suffix: str, codec: str) -> None:
    for frames in (1, 11):
        path = tmp_path / f"{frames}.{suffix}"
        _write_other(path, codec, frames)
        with open_video(path) as video:
            assert video.info.frames == frames
            last = video.read([frames - 1])[frames - 1]
        np.testing.assert_array_equal(last, full_scan(path)[-1])


def _write_other(path: Path, codec: str, frames: int) -> None:
    formats = {"gif": "rgb8", "mjpeg": "yuvj420p", "ffv1": "yuv420p"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, formats[codec]
        for number in range(frames):
            image = av.VideoFrame.from_ndarray(picture(number, 64, 48), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
