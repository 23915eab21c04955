"""The frames of a video as they are, all of them or every so many: a slot full after the other.

A worker keeps the file open from one lot to the next and decodes on. One that takes the place of a
lost worker begins with the lot that it is asked for. No more than a lot is in memory.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from extract.decoding.containers import Limits
from extract.decoding.info import VideoInfo
from extract.decoding.picture import Opened
from extract.decoding.reel import Stretch
from extract.errors import DamagedVideo

if TYPE_CHECKING:
    from extract.decoding.job import Job

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Which frames are wanted."""

    every: int = 1
    """Frame 0, and each so many after it."""
    lot_bytes: int = 64 * 2**20
    """Of pixels together; a single frame may be larger."""

    def nbytes(self, limits: Limits) -> int:
        """Of a lot; the largest frame that is allowed fits."""
        return max(self.lot_bytes, 3 * limits.max_pixels)

    def lot(self, info: VideoInfo, first: int) -> range:
        """Numbers of the frames that are in the lot that begins with this one."""
        fit = max(1, self.lot_bytes // max(1, 3 * info.width * info.height))
        return range(first, info.frames, self.every)[:fit]

    def array(self, info: VideoInfo, first: int, slot: memoryview) -> NDArray[np.uint8]:
        """The lot in its slot (n, h, w, RGB); ValueError where no frame can be so large."""
        shape = (len(self.lot(info, first)), info.height, info.width, 3)
        if min(shape[1:]) < 1 or 3 * info.width * info.height > len(slot):
            raise ValueError(f"no reply (frames of {info.width}x{info.height})")
        return np.frombuffer(slot, np.uint8, int(np.prod(shape))).reshape(shape)


class Scanner:
    """The video that a worker is at."""

    def __init__(
        self, scan: Scan, opening: Callable[["Job"], AbstractContextManager[Opened | Stretch]]
    ) -> None:
        self._scan, self._opening = scan, opening
        self._closing = ExitStack()
        self._at: tuple[str, str, int] | None = None
        """Whose lot comes next, and its first frame."""
        self._pass: Iterator[tuple[int, Image]] = iter(())

    def write(self, job: "Job", slot: memoryview) -> VideoInfo:
        """The lot that the job asks for, into its slot. After an error nothing stays open."""
        try:
            return self._written(job, slot)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        self._at, self._pass = None, iter(())
        self._closing.close()

    def _written(self, job: "Job", slot: memoryview) -> VideoInfo:
        if self._at != (job.id, job.path, job.first):
            self.close()
            self._video = self._closing.enter_context(self._opening(job))
            self._pass = self._video.scan(
                range(job.first, self._video.info.frames, self._scan.every)
            )
        info = self._video.info
        numbers = self._scan.lot(info, job.first)
        frames_nhwc = self._scan.array(info, job.first, slot)
        for place, number in enumerate(numbers):
            came, image_hwc = next(self._pass, (-1, None))
            if came != number or image_hwc is None:
                self._by_itself(numbers, frames_nhwc)
                break
            frames_nhwc[place] = image_hwc
        else:
            following = numbers.start + len(numbers) * self._scan.every
            self._at = (job.id, job.path, following)
        if not numbers or numbers[-1] + self._scan.every >= info.frames:
            self.close()
        return info

    def _by_itself(self, numbers: range, frames_nhwc: NDArray[np.uint8]) -> None:
        """Where the decoder gives frames in another order; the next lot begins anew."""
        self._at, self._pass = None, iter(())
        found = self._video.read(numbers)
        if len(found) < len(numbers):
            raise DamagedVideo(f"{len(numbers) - len(found)} frames cannot be decoded")
        for place, number in enumerate(numbers):
            frames_nhwc[place] = found[number]
