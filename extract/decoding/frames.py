"""The frames that views need, decoded in one pass, damaged where a protocol says so.

Several protocols share the pass. One that encodes the video anew (`+h264crf`, `+canonical`) looks
at another video, which takes a pass of its own over the open file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from extract.errors import DamagedVideo
from extract.views.damage import RECIPE, Perturbation
from extract.views.perturb import X264, Image, held_frame, perturb_frame, reencode
from extract.views.view import View, needed_frames

Frames = dict[int, Image]


class Readable(Protocol):
    """An open video, or a segment of one."""

    @property
    def rate(self) -> Fraction:
        """Frames a second."""

    def read(self, numbers: Sequence[int]) -> Frames:
        """Frames by their numbers."""

    def every_frame(self) -> Iterator[Image]:
        """All, in order."""


@dataclass(frozen=True, slots=True)
class _Encoding:
    """The video that a protocol looks at: the file, or what encoding it anew makes of it."""

    canonical: bool
    coded: Perturbation | None

    @staticmethod
    def of(views: Sequence[View]) -> "_Encoding":
        damage = views[0].perturbation
        coded = damage if damage is not None and damage.needs_every_frame else None
        return _Encoding(views[0].canonical, coded)

    @property
    def is_file(self) -> bool:
        """Nothing is encoded."""
        return self.coded is None and not self.canonical

    def read(self, video: Readable, numbers: Sequence[int]) -> Frames:
        if self.coded is None:
            return _picked(_canonical(video), numbers) if self.canonical else video.read(numbers)
        frames = _canonical(video) if self.canonical else video.every_frame()
        options = {**X264, "crf": f"{self.coded.amount:g}"}
        return _picked(reencode(frames, options, video.rate), numbers)


def read_frames(video: Readable, views: Sequence[View]) -> Frames:
    """The frames that views of one protocol need, perturbed if they say so."""
    return read_looks(video, [views])[0]


def file_frames(video: Readable, looks: Sequence[Sequence[View]]) -> set[int]:
    """The frames that these looks take from the file as it is."""
    return {
        number
        for views in looks
        if _Encoding.of(views).is_file
        for number in _sources(video, views).values()
    }


def read_looks(video: Readable, looks: Sequence[Sequence[View]]) -> list[Frames]:
    """The same for the views of several protocols."""
    sources = [_sources(video, views) for views in looks]
    wanted: dict[_Encoding, set[int]] = {}
    for views, frames in zip(looks, sources, strict=True):
        wanted.setdefault(_Encoding.of(views), set()).update(frames.values())
    read = {encoding: encoding.read(video, sorted(all_)) for encoding, all_ in wanted.items()}
    return [
        _damaged(
            views, {number: read[_Encoding.of(views)][source] for number, source in its.items()}
        )
        for views, its in zip(looks, sources, strict=True)
    ]


def _sources(video: Readable, views: Sequence[View]) -> dict[int, int]:
    """Frame number → the frame that is there in its place."""
    numbers, damage = needed_frames(views), views[0].perturbation
    if damage is not None and damage.kind == "rate":
        return {number: held_frame(number, video.rate, damage.amount) for number in numbers}
    return {number: number for number in numbers}


def _damaged(views: Sequence[View], frames: Frames) -> Frames:
    damage = views[0].perturbation
    if damage is None or damage.kind == "rate" or damage.needs_every_frame:
        return frames
    if damage.is_drawn:
        return {
            number: perturb_frame(image, damage, views[0].rng(f"damage of {number}"))
            for number, image in frames.items()
        }
    return {number: perturb_frame(image, damage) for number, image in frames.items()}


def _canonical(video: Readable) -> Iterator[Image]:
    return reencode(video.every_frame(), RECIPE, video.rate)


def _picked(frames: Iterable[Image], numbers: Sequence[int]) -> Frames:
    wanted = set(numbers)
    found = {number: image for number, image in enumerate(frames) if number in wanted}
    if len(found) < len(wanted):
        raise DamagedVideo(f"{len(wanted) - len(found)} frames were lost in re-encoding")
    return found
