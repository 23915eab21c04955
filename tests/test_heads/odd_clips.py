"""Clips that people have and that no training set is made of."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tests.test_extract.clips import picture, rotate_metadata

if TYPE_CHECKING:
    from av.video.stream import VideoStream

Frame = NDArray[np.uint8]


def write(path: Path, frames: Iterable[Frame], rate: int = 24) -> Path:
    stream: VideoStream | None = None
    with av.open(str(path), "w") as container:
        for frame_hwc in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=rate)
                stream.height, stream.width = frame_hwc.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_hwc, format="rgb24")))
        assert stream is not None
        container.mux(stream.encode(None))
    return path


def phone(path: Path) -> Path:
    """Held upright: lying pixels, turned by the container, 60 a second."""
    write(path, (picture(n, 320, 180) for n in range(120)), rate=60)
    rotate_metadata(path, 90)
    return path


def screen_recording(path: Path) -> Path:
    """A page of text that stands still; then somebody scrolls."""
    page = np.full((600, 320, 3), 250, np.uint8)
    for line in range(25):
        cv2.putText(page, f"line {line} of a page", (8, 20 + 23 * line), 0, 0.5, (20, 20, 20))
    tops = [0] * 40 + list(range(0, 160, 8))
    return write(path, (page[top : top + 240] for top in tops))


def cartoon(path: Path) -> Path:
    """Flat colours, a drawn face, twelve drawings a second."""

    def drawn(number: int) -> Frame:
        frame_hwc = np.full((240, 320, 3), (120, 200, 250), np.uint8)
        across = 60 + 4 * number
        cv2.circle(frame_hwc, (across, 120), 50, (255, 220, 180), -1)
        cv2.circle(frame_hwc, (across, 120), 50, (0, 0, 0), 2)
        for eye in (-18, 18):
            cv2.circle(frame_hwc, (across + eye, 110), 6, (0, 0, 0), -1)
        cv2.ellipse(frame_hwc, (across, 135), (20, 8 + number % 5), 0, 0, 180, (200, 0, 0), -1)
        return frame_hwc

    return write(path, (drawn(n // 2) for n in range(72)))


def black(path: Path) -> Path:
    return write(path, [np.zeros((180, 320, 3), np.uint8)] * 48)


def three_frames(path: Path) -> Path:
    return write(path, (picture(n, 320, 180) for n in range(3)))


def fill(folder: Path) -> Path:
    folder.mkdir()
    for make in (phone, screen_recording, cartoon, black, three_frames):
        make(folder / f"{make.__name__}.mp4")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("This is no video.\n" * 20)
    return folder
