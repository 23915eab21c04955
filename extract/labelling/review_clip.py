"""Small films of videos for the review page: VP8 in WebM, which every browser plays.

Made in decode workers, from the frames of a `pairs-N` view: all of them where the pairs cover the
video, else the first of each pair. A film is a row of bytes: its length, itself, zeros.
"""

import io
from collections.abc import Sequence

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from extract.decoding.job import Output
from extract.errors import OverLimit
from extract.priors.flow import Image, shrunk
from extract.views.transforms import Frames
from extract.views.view import View

PAIRS = 48
SIDE = 224
RATE = 12
"""Frames a second in the file; the page plays it as fast as the video was."""
LIMIT = 256 * 1024
_HEAD = 4
_QUALITIES = (16, 34, 52)

FILM = Output(
    name="film",
    function="extract.labelling.review_clip:films",
    shape=(LIMIT,),
    dtype="uint8",
    pairs=PAIRS,
)


def films(frames: Frames, views: Sequence[View]) -> NDArray[np.uint8]:
    """A film (V, LIMIT) of each view."""
    rows = np.zeros((len(views), LIMIT), np.uint8)
    for row, view in zip(rows, views, strict=True):
        film = _smallest([_even(shrunk(frames[number], SIDE)) for number in shown(view)])
        row[:_HEAD] = np.frombuffer(len(film).to_bytes(_HEAD, "big"), np.uint8)
        row[_HEAD : _HEAD + len(film)] = np.frombuffer(film, np.uint8)
    return rows


def film_bytes(row: NDArray[np.uint8]) -> bytes:
    """A row's film."""
    length = int.from_bytes(row[:_HEAD].tobytes(), "big")
    return row[_HEAD : _HEAD + length].tobytes()


def shown(view: View) -> list[int]:
    """Frame numbers at even distances, or nearly so."""
    numbers = sorted(set(view.frames))
    whole = numbers[-1] - numbers[0] + 1
    return numbers if len(numbers) == whole else sorted(set(view.frames[::2]))


def _smallest(images: Sequence[Image]) -> bytes:
    """The best quality that fits."""
    for quality in _QUALITIES:
        film = _encode(images, quality)
        if len(film) + _HEAD <= LIMIT:
            return film
    raise OverLimit(f"its preview has {len(film):,} bytes, more than {LIMIT:,}")


def _encode(images: Sequence[Image], quality: int) -> bytes:
    file = io.BytesIO()
    options = {"crf": str(quality), "deadline": "realtime", "cpu-used": "4", "auto-alt-ref": "0"}
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=RATE, options=options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 1_200_000
        stream.thread_count = 1
        for image_hwc in images:
            frame = av.VideoFrame.from_ndarray(image_hwc, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _even(image_hwc: Image) -> Image:
    """4:2:0 needs even sides."""
    height, width = image_hwc.shape[:2]
    bottom, right = height % 2, width % 2
    padded = cv2.copyMakeBorder(image_hwc, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(padded).astype(np.uint8)
