"""Damage as it happens to videos on the web: blur, JPEG, down-scaling, re-encoding, screens.

Done to whole decoded frames, before resizing, so that every branch sees the same damage (the
paper's Table 5). `mixed` is blur 3, then resize 0.7, then JPEG 50. `h264crfN` encodes all frames
in order with x264 (medium, one thread) and decodes them again, and so does the canonical
encoding; they need every frame of the video. `rateN` shows what a viewer sees after a conversion
to N frames a second: frames are held. `letterbox` pads to a square with black, `screen` films the
frame off a display. `blurjpegP` is training's, see `training_damage`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from extract.views.damage import Perturbation
from extract.views.training_damage import blurred_and_compressed, jpeg_by_opencv

Image = NDArray[np.uint8]
X264 = {"preset": "medium"}
_NARROW = 256
_TILT = 1.0
"""Degrees by which the display is askew."""
_OTHER_STRIPES = 0.55
"""How much light of the other two colours comes from a display's stripe of one colour."""
MIXED = (
    Perturbation(kind="blur", amount=3),
    Perturbation(kind="resize", amount=0.7),
    Perturbation(kind="jpeg", amount=50),
)


def perturb_frame(
    frame_hwc: Image, perturbation: Perturbation, rng: np.random.Generator | None = None
) -> Image:
    """One frame, RGB. `h264crf` and `rate` are no matter of one frame: see `read_frames`. What is
    drawn by chance is drawn from `rng`."""
    if perturbation.is_drawn:
        assert rng is not None
        return blurred_and_compressed(frame_hwc, perturbation.amount, rng)
    if perturbation.kind == "mixed":
        for step in MIXED:
            frame_hwc = perturb_frame(frame_hwc, step)
        return frame_hwc
    return _BY_KIND[perturbation.kind](frame_hwc, perturbation.amount)


def _blur(frame_hwc: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(frame_hwc, (0, 0), sigma), np.uint8)


def _resize(frame_hwc: Image, factor: float) -> Image:
    height, width = frame_hwc.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(frame_hwc, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _letterbox(frame_hwc: Image, amount: float) -> Image:
    """In the middle of a black square as long as the longer side."""
    del amount
    height, width = frame_hwc.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    padded = np.zeros((side, side, 3), np.uint8)
    padded[top : top + height, left : left + width] = frame_hwc
    return padded


def _screen(frame_hwc: Image, amount: float) -> Image:
    """Every pixel as a red, a green and a blue stripe, looked at a little askew and sampled anew:
    colour fringes and moiré."""
    del amount
    height, width = frame_hwc.shape[:2]
    lit = np.where(np.eye(3, dtype=bool), 1.0, _OTHER_STRIPES)  # stripe, colour
    gain = 3 / (1 + 2 * _OTHER_STRIPES)
    striped = np.repeat(frame_hwc.astype(np.float32), 3, axis=1)
    striped *= gain * np.tile(lit, (width, 1)).astype(np.float32)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), _TILT, 1.0)
    stretch = np.array([[1 / 3, 0, 0], [0, 1, 0]], np.float64)
    stretch[:, :2] = turn[:, :2] @ stretch[:, :2]
    stretch[:, 2] = turn[:, 2]
    seen = cv2.warpAffine(
        striped, stretch, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


_BY_KIND: dict[str, Callable[[Image, float], Image]] = {
    "blur": _blur,
    "jpeg": jpeg_by_opencv,
    "resize": _resize,
    "letterbox": _letterbox,
    "screen": _screen,
}


def reencode(
    frames: Iterable[Image], options: Mapping[str, str], rate: Fraction
) -> Iterator[Image]:
    """The frames after x264 with these options, in the same order, one for one.

    4:2:0 needs even sides: an odd one is padded by its last pixels and cut again.
    """
    encoder: VideoCodecContext | None = None
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    height = width = 0
    for number, frame_hwc in enumerate(frames):
        if encoder is None:
            height, width = frame_hwc.shape[:2]
            encoder = _encoder(width + width % 2, height + height % 2, options, rate)
        padded = np.pad(frame_hwc, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        picture.pts = number
        for packet in encoder.encode(picture.reformat(format="yuv420p")):
            yield from _cut(decoder.decode(packet), height, width)
    if encoder is None:
        return
    for packet in encoder.encode(None):
        yield from _cut(decoder.decode(packet), height, width)
    yield from _cut(decoder.decode(None), height, width)


def _encoder(
    width: int, height: int, options: Mapping[str, str], rate: Fraction
) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = rate
    encoder.time_base = 1 / rate
    encoder.thread_count = 1
    # x264's macroblock tree gives other numbers each time on very narrow frames.
    encoder.options = {**options, "mbtree": "0"} if width < _NARROW else dict(options)
    return encoder


def _cut(pictures: Iterable[av.VideoFrame], height: int, width: int) -> Iterator[Image]:
    for picture in pictures:
        yield np.ascontiguousarray(picture.to_ndarray(format="rgb24")[:height, :width])


def held_frame(number: int, fps: Fraction, rate: float) -> int:
    """The frame that is on the screen at this one's time, when only `rate` a second are kept."""
    shown = math.floor(number * rate / fps + 1e-9)
    return min(number, math.ceil(shown * fps / rate - 1e-9))
