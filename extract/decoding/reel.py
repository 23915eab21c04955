"""A file that stays open while one of its segments after the other is looked at, in one decode.

What the segments that follow will need is known, so decoding goes on where it stopped: no picture
is decoded twice, and no more frames are in memory than one segment needs. Where a segment cannot
be had so, it is decoded by itself, and only it fails.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction

from extract.decoding.info import VideoInfo
from extract.decoding.video import Image, OpenVideo
from extract.errors import DamagedVideo, OverLimit, VideoError
from extract.manifest.segments import Segment

Wanted = Sequence[int]
"""Frame numbers of the file."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment of an open video; frames are numbered from its own first one."""

    info: VideoInfo
    first: int
    _reel: "Reel"

    @property
    def rate(self) -> Fraction:
        """Of the file, frames a second."""
        return self._reel.video.rate

    def read(self, numbers: Sequence[int]) -> dict[int, Image]:
        """As `OpenVideo.read`."""
        found = self._reel.frames([number + self.first for number in dict.fromkeys(numbers)])
        return {number - self.first: image for number, image in found.items()}

    def scan(self, wanted: Sequence[int]) -> Iterator[tuple[int, Image]]:
        """As `OpenVideo.scan`."""
        self._reel.rewind()
        for number, image in self._reel.video.scan([one + self.first for one in wanted]):
            yield number - self.first, image

    def every_frame(self) -> Iterator[Image]:
        """Of the segment, in order."""
        for _, image in self.scan(range(self.info.frames)):
            yield image


class Reel:
    """An open video, and how far it has been decoded."""

    def __init__(self, video: OpenVideo, closing: ExitStack) -> None:
        """`closing`: what has to be closed with it."""
        self.video = video
        self._closing = closing
        self._times = video.times
        self._coming: Callable[[], Sequence[Wanted]] = tuple
        self._pass: Iterator[tuple[int, Image]] = iter(())
        self._uses: Counter[int] = Counter()
        """Of the pass that is under way: how many segments are still to get a frame."""
        self._images: dict[int, Image] = {}
        """What it has brought and somebody is still to get: segments may overlap."""

    def close(self) -> None:
        """The file too."""
        self.rewind()
        self._closing.close()

    def stretch(self, segment: Segment, longest: float) -> Stretch:
        """`longest`: seconds that a segment may last."""
        numbers = segment.frames(self._times)
        if segment.end - segment.start > longest:
            raise OverLimit(
                f"the segment lasts {segment.end - segment.start:.0f} s, longer than {longest:g} "
                f"(--max-seconds)"
            )
        whole = self.video.info
        info = replace(
            whole, frames=len(numbers), duration=len(numbers) / whole.fps,
            share=len(numbers) / len(self._times),
        )  # fmt: skip
        return Stretch(info, numbers.start, self)

    def expect(self, coming: Callable[[], Sequence[Wanted]]) -> None:
        """What will be asked for after the next frames: a pass that begins decodes that too."""
        self._coming = coming

    def rewind(self) -> None:
        """Forget the pass: something else is going to be decoded."""
        self._pass = iter(())
        self._uses.clear()
        self._images.clear()

    def frames(self, wanted: Wanted) -> dict[int, Image]:
        """From the pass that is under way, or from a new one; each number once."""
        if not all(self._uses[number] for number in wanted):
            self.rewind()
            for each in (wanted, *self._coming()):
                self._uses.update(each)
            self._pass = self.video.scan(sorted(self._uses))
        try:
            return self._taken(wanted)
        except VideoError:
            self.rewind()
            return self.video.read(wanted)

    def _taken(self, wanted: Wanted) -> dict[int, Image]:
        missing = set(wanted) - self._images.keys()
        last = max(wanted, default=-1)
        while missing:
            number, image = next(self._pass, (last + 1, None))
            if image is None or number > last:
                raise DamagedVideo(f"frame {min(missing)} cannot be decoded")
            missing.discard(number)
            self._images[number] = image
        found = {number: self._images[number] for number in wanted}
        self._uses.subtract(wanted)
        for number in [n for n in self._images if not self._uses[n]]:
            del self._images[number]
        return found
