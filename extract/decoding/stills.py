"""A few small pictures of a video for people to look at: evenly over its length, and any that are
asked for besides."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from extract.decoding.info import VideoInfo
from extract.decoding.picture import Opened
from extract.decoding.reel import Stretch

_QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Stills:
    """How many, and how large."""

    count: int = 8
    side: int = 176
    """Pixels of the longer side, at most."""
    besides: int = 1
    """How many more a job may ask for."""

    @property
    def nbytes(self) -> int:
        return (self.count + self.besides) * 3 * self.side**2

    def numbers(self, info: VideoInfo, besides: Sequence[int]) -> list[int]:
        """Which frames of a video; of those asked for besides, which come first, the ones that
        there are."""
        even = np.linspace(0, info.frames - 1, self.count).astype(int).tolist()
        return [*(n for n in besides[: self.besides] if 0 <= n < info.frames), *even]

    def array(self, info: VideoInfo, besides: Sequence[int], slot: memoryview) -> NDArray[np.uint8]:
        """The pictures in their slot (n, h, w, RGB); ValueError where they cannot be there."""
        if min(info.frames, info.width, info.height) < 1:
            raise ValueError(f"no reply (frames of {info.width}x{info.height})")
        scale = min(1.0, self.side / max(info.width, info.height))
        sides = (max(1, round(side * scale)) for side in (info.height, info.width))
        shape = (len(self.numbers(info, besides)), *sides, 3)
        return np.frombuffer(slot, np.uint8, int(np.prod(shape))).reshape(shape)

    def write(self, video: Opened | Stretch, besides: Sequence[int], slot: memoryview) -> VideoInfo:
        """The pictures into the slot."""
        numbers = self.numbers(video.info, besides)
        frames = video.read(numbers)
        small_nhwc = self.array(video.info, besides, slot)
        for place, number in enumerate(numbers):
            size = (small_nhwc.shape[2], small_nhwc.shape[1])
            small_nhwc[place] = cv2.resize(frames[number], size, interpolation=cv2.INTER_AREA)
        return video.info


def jpeg(small_hwc: NDArray[np.uint8]) -> str:
    """RGB as a JPEG in base64, for a page."""
    _, encoded = cv2.imencode(".jpg", small_hwc[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return base64.b64encode(encoded.tobytes()).decode()


def jpeg_url(small_hwc: NDArray[np.uint8]) -> str:
    """The same as a data URL."""
    return f"data:image/jpeg;base64,{jpeg(small_hwc)}"
