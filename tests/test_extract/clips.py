"""Clips that tests write for themselves, and a decoder too simple to be wrong."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

Image = NDArray[np.uint8]
X264 = {"preset": "ultrafast", "crf": "20"}
GIVEN = Path(
    os.environ.get("TELLTALE_CLIPS", Path(__file__).resolve().parents[3] / "shared" / "clips")
)


def given_clips() -> list[Path]:
    """Real clips, where there are some."""
    return sorted(GIVEN.glob("*/*.mp4")) if GIVEN.is_dir() else []


def picture(number: int, width: int, height: int) -> Image:
    """A different picture for every number: its bits as blocks over a moving ramp."""
    rows, columns = np.mgrid[0:height, 0:width]
    ramp = (rows * 2 + columns * 3 + number * 11) % 256
    frame_hwc = np.stack([ramp, ramp[::-1], 255 - ramp], axis=-1).astype(np.uint8)
    for bit in range(10):
        left = bit * width // 10
        value = 230 if number >> bit & 1 else 25
        cv2.rectangle(
            frame_hwc, (left, height // 3), (left + width // 12, 2 * height // 3), (value,) * 3, -1
        )
    return frame_hwc


def write_clip(  # noqa: PLR0913 (what encoders can be told)
    path: Path,
    *,
    frames: int = 30,
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    title: str = "",
    first: int = 0,
) -> Path:
    """`times` are in hundredths of a second, for a variable rate; `first` numbers the pictures."""
    with av.open(str(path), "w") as container:
        if title:
            container.metadata["title"] = title
        stream = container.add_stream(codec, rate=Fraction(25), options=options or X264)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"
        stream.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(first + number, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        silence = np.zeros((1, 16000), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rotate_metadata(path: Path, degrees: int) -> None:
    """Write a display matrix into an mp4's track header; players turn by it clockwise."""
    matrices = {
        90: (0, 1, -1, 0),
        180: (-1, 0, 0, -1),
        270: (0, -1, 1, 0),
    }
    a, b, c, d = (value * 65536 for value in matrices[degrees])
    matrix = b"".join(
        value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    )
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = matrix
    path.write_bytes(data)


def full_scan(path: Path) -> list[Image]:
    """Every frame in order, as FFmpeg gives it: no seeking, no skipping, not turned."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]  # type: ignore[misc]
