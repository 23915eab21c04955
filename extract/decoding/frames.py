"""The frames that views need, decoded in one pass, damaged where a protocol says so."""

from collections.abc import Iterable, Iterator, Sequence

from extract.decoding.video import OpenVideo
from extract.errors import DamagedVideo
from extract.views.damage import RECIPE
from extract.views.perturb import X264, Image, held_frame, perturb_frame, reencode
from extract.views.view import View, needed_frames


def read_frames(video: OpenVideo, views: Sequence[View]) -> dict[int, Image]:
    """The frames that views of one protocol need, decoded in one pass, perturbed if they say so."""
    numbers = needed_frames(views)
    canonical, perturbation = views[0].canonical, views[0].perturbation
    if perturbation is not None and perturbation.kind == "rate":
        held = {number: held_frame(number, video.rate, perturbation.amount) for number in numbers}
        read = _undamaged(video, sorted(set(held.values())), canonical=canonical)
        return {number: read[source] for number, source in held.items()}
    if perturbation is not None and perturbation.needs_every_frame:
        frames = _canonical(video) if canonical else video.every_frame()
        options = {**X264, "crf": f"{perturbation.amount:g}"}
        return _picked(reencode(frames, options, video.rate), numbers)
    read = _undamaged(video, numbers, canonical=canonical)
    if perturbation is None:
        return read
    return {number: perturb_frame(image, perturbation) for number, image in read.items()}


def _undamaged(video: OpenVideo, numbers: Sequence[int], *, canonical: bool) -> dict[int, Image]:
    return _picked(_canonical(video), numbers) if canonical else video.read(numbers)


def _canonical(video: OpenVideo) -> Iterator[Image]:
    return reencode(video.every_frame(), RECIPE, video.rate)


def _picked(frames: Iterable[Image], numbers: Sequence[int]) -> dict[int, Image]:
    wanted = set(numbers)
    found = {number: image for number, image in enumerate(frames) if number in wanted}
    if len(found) < len(wanted):
        raise DamagedVideo(f"{len(wanted) - len(found)} frames were lost in re-encoding")
    return found
