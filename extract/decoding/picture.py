"""A still picture as a video of one frame, and the one door to files of either kind.

Pillow reads it, as those read it who train on pictures: PNG, JPEG, WebP or BMP by their first
bytes, never by their names. It is turned as its metadata says, and grey becomes RGB.
"""

import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from extract.decoding.containers import Limits, open_file, read_digest
from extract.decoding.info import VideoInfo
from extract.decoding.video import OpenVideo, open_video
from extract.errors import BadSetting, DamagedVideo, OverLimit

SIGNS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "BMP": b"BM", "WEBP": b"RIFF"}
_WEBP = b"WEBP"
_RATE = Fraction(25)
_START = 12


class StillPicture:
    """What `OpenVideo` is for a video; there is one frame."""

    def __init__(self, info: VideoInfo, frame_hwc: NDArray[np.uint8]) -> None:
        self.info, self.rate = info, _RATE
        self._frame_hwc = frame_hwc

    def read(self, numbers: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        if any(numbers):
            raise BadSetting(f"Frames {min(numbers)}…{max(numbers)} of 1 asked for.")
        return {0: self._frame_hwc} if len(numbers) else {}

    def scan(self, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        yield from self.read(wanted).items()

    def every_frame(self) -> Iterator[NDArray[np.uint8]]:
        yield self._frame_hwc


Opened = OpenVideo | StillPicture


@contextmanager
def open_any(
    path: str,
    *,
    root: str | None = None,
    limits: Limits | None = None,
    decoder: str = "pyav",
    hashed: bool = False,
) -> Iterator[Opened]:
    """A video as `open_video` opens it, or a picture."""
    handle = open_file(path, root, limits or Limits())
    try:
        start = os.pread(handle, _START, 0)
        kind = next((name for name, sign in SIGNS.items() if start.startswith(sign)), None)
        if kind == "WEBP" and start[8:] != _WEBP:
            kind = None
        if kind is not None:
            yield _opened(handle, kind, limits or Limits(), hashed=hashed)
            return
    finally:
        os.close(handle)
    with open_video(path, root=root, limits=limits, decoder=decoder, hashed=hashed) as video:
        yield video


def _opened(handle: int, kind: str, limits: Limits, *, hashed: bool) -> StillPicture:
    found = os.fstat(handle)
    content = os.pread(handle, found.st_size, 0)
    try:
        with Image.open(io.BytesIO(content), formats=[kind]) as picture:
            width, height = picture.size
            if width * height > limits.max_pixels:
                raise OverLimit(
                    f"{width}x{height} is more than {limits.max_pixels:,} pixels (--max-pixels)"
                )
            turned = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise DamagedVideo(f"the picture cannot be read: {error}") from error
    except Image.DecompressionBombError as error:
        raise OverLimit(f"the picture is too large: {error}") from error
    frame_hwc = np.array(turned, np.uint8)
    info = VideoInfo(
        frames=1, fps=float(_RATE), width=turned.width, height=turned.height, codec=kind.lower(),
        container="picture", duration=math.nan, file_bytes=found.st_size,
        modified=found.st_mtime_ns, digest=read_digest(handle) if hashed else "",
    )  # fmt: skip
    return StillPicture(info, frame_hwc)
