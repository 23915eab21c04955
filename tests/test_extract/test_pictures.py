"""Still pictures as videos of one frame."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extract.decoding.containers import Limits
from extract.decoding.picture import open_any
from extract.errors import DamagedVideo, OverLimit, VideoError

LEVELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
def test_a_picture_has_one_frame_with_its_very_pixels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"named.{suffix}"
    Image.fromarray(LEVELS).save(path, lossless=True)
    path = path.rename(tmp_path / "named.mp4")  # its content says what it is
    with open_any(str(path), hashed=True) as opened:
        assert (opened.info.frames, opened.info.width, opened.info.height) == (1, 40, 30)
        np.testing.assert_array_equal(opened.read([0])[0], LEVELS)
        assert len(list(opened.every_frame())) == 1
        assert len(opened.info.digest) == 32


def test_a_jpeg_is_what_pillow_makes_of_it_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(LEVELS).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as picture:
        wanted = np.rot90(np.asarray(picture), -1)
    with open_any(str(tmp_path / "a.jpg")) as opened:
        np.testing.assert_array_equal(opened.read([0])[0], wanted)


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(LEVELS[..., 0]).save(tmp_path / "a.png")
    with open_any(str(tmp_path / "a.png")) as opened:
        np.testing.assert_array_equal(opened.read([0])[0], LEVELS[..., [0, 0, 0]])


def test_what_is_broken_or_too_large_is_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(LEVELS).save(path)
    with pytest.raises(OverLimit, match="max-pixels"), open_any(
        str(path), limits=Limits(max_pixels=1000)
    ):  # fmt: skip
        pass
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DamagedVideo, match="cannot be read"), open_any(str(path)):
        pass
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + bytes(64))
    with pytest.raises(VideoError), open_any(str(path)):
        pass
