"""Frames that views need, from an open video: decoded once, damaged as the protocol says."""

from collections.abc import Sequence

from extract.decoding.video import Image, OpenVideo
from extract.errors import DamagedVideo
from extract.views.perturb import perturb_frame, reencode
from extract.views.view import View, needed_frames


def read_frames(video: OpenVideo, views: Sequence[View]) -> dict[int, Image]:
    """The frames that views of one protocol need, decoded in one pass, perturbed if they say so."""
    numbers = needed_frames(views)
    perturbation = views[0].perturbation
    if perturbation is None:
        return video.read(numbers)
    if not perturbation.needs_every_frame:
        read = video.read(numbers)
        return {number: perturb_frame(image, perturbation) for number, image in read.items()}
    wanted = set(numbers)
    encoded = enumerate(reencode(video.every_frame(), int(perturbation.amount), video.rate))
    found = {number: image for number, image in encoded if number in wanted}
    if len(found) < len(wanted):
        raise DamagedVideo(f"{len(wanted) - len(found)} frames were lost in re-encoding")
    return found
