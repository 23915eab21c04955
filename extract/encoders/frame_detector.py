"""What the branches of detectors that judge single frames share.

Of every frame there is `cls`, the vector that the detector's last layer judges, and `logit`, what
it says of it; `present` says which frames the video has. What needs no weights gives what it counts
instead. A frame that the video does not have is mean grey.
Legend: b views, f frames, c channels, h w height and width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.encoders.branch_parts import PRESENT, Pictures
from extract.encoders.training import DetectorTraining
from extract.errors import BadSetting, BadWeights
from extract.networks import weights
from extract.networks.frame_network import FrameNetwork, drawn
from extract.networks.weights import State
from extract.views.looks import LOOK_AT, LOOKS, Look
from extract.views.sampling import CLIP_FRAMES
from features_store.schema import ArraySpec

OPTIONS = ("dtype", "frames", "look")
MAX_FRAMES = 256
_SEED = 11
_NOTHING = "no weights: the pixels' own statistics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """How a frame becomes a picture, by whose function."""

    look: Look
    function: str = LOOK_AT
    """`module:function`, called in a decode worker."""
    options: Mapping[str, Any] | None = None
    """What it is called with; none: the look."""

    @property
    def plain(self) -> dict[str, Any]:
        return self.look.plain() if self.options is None else dict(self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One preset of a branch."""

    make: Callable[[], FrameNetwork]
    feeds: Mapping[str, Feed]
    """By what `?look=` calls them; the first is the detector's own."""
    file: str = ""
    """What must be got: `NAME (where)`; empty: nothing."""
    ours: Callable[[State], State] = dict
    """From the file's names to ours."""


def seen_as(*looks: str) -> dict[str, Feed]:
    """Looks by name."""
    return {name: Feed(look=LOOKS[name]) for name in looks}


class FrameDetector(Branch):
    """A detector on every frame of a view."""

    def __init__(
        self, request: BranchRequest, network: FrameNetwork, feed: Feed, source: str, revision: int
    ) -> None:
        self.name, self.preset = request.name, request.preset
        self.device = torch.device(request.device)
        self.precision = request.computes_in
        frames = request.whole_number("frames", CLIP_FRAMES, MAX_FRAMES)
        dtype = request.option("dtype", "float32", ("float16", "float32"))
        self._pictures = Pictures(feed.look, frames, self.device, feed.function, feed.plain)
        self.prepare = self._pictures.output
        self.model = network.eval().requires_grad_(requires_grad=False)
        self.outputs = {
            name: ArraySpec(shape=(frames, *found.shape[1:]), dtype=dtype)
            for name, found in self._said(torch.zeros(1, 3, feed.look.height, feed.look.width))
        }
        self.outputs[PRESENT] = ArraySpec(shape=(frames,), dtype="uint8")
        self.decides = {
            "architecture": dict(network.architecture),
            "weights": weights.content_hash(network.state_dict()),
            "preprocessing": {"function": feed.function, **feed.plain},
            "precision": self.precision,
            "revision": revision,
        }
        self.provenance = {"source": source}
        self.model = network.to(self.device)

    @torch.no_grad()
    def _said(self, images_bchw: Tensor) -> list[tuple[str, Tensor]]:
        return list(self.model(images_bchw).items())

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        present_bf, images_bfchw = self._pictures(batch)
        found = {
            name: numbers.float().unflatten(0, present_bf.shape)
            for name, numbers in self.model(images_bfchw.flatten(0, 1)).items()
        }
        return {**found, PRESENT: present_bf.to(torch.uint8)}

    def trainable(self) -> DetectorTraining | None:
        return DetectorTraining(self.model, self._pictures) if self.model.last else None

    def example(self, count: int) -> Tensor:
        return self._pictures.example(count, self.device)


def load_detector(
    request: BranchRequest,
    variants: Mapping[str, Variant],
    revision: int,
    options: tuple[str, ...] = OPTIONS,
) -> FrameDetector:
    """The preset that was asked for, with its weights; `tiny` ones have random numbers."""
    request.check_options(options)
    if request.preset not in variants:
        have = ", ".join(variants)
        raise BadSetting(f"Branch {request.name}: preset {request.preset!r} unknown; have: {have}.")
    variant = variants[request.preset]
    feed = variant.feeds[request.option("look", next(iter(variant.feeds)), tuple(variant.feeds))]
    asked = f"{request.name}={request.preset}"
    if request.weights is not None:
        if not variant.file and not _is_tiny(request):
            raise BadSetting(f"{asked} has no weights; leave {request.weights} out.")
        with weights.unfilled():
            network = variant.make()
        state = variant.ours(weights.read_state(request.weights))
        weights.fill(network, state, model=asked)
        return FrameDetector(request, network, feed, request.weights.name, revision)
    if variant.file:
        raise BadWeights(f"{asked} needs weights: {asked}:PATH, with {variant.file}.")
    network = variant.make()
    if not _is_tiny(request):
        return FrameDetector(request, network, feed, _NOTHING, revision)
    drawn(network, _SEED)
    return FrameDetector(request, network, feed, weights.RANDOM, revision)


def _is_tiny(request: BranchRequest) -> bool:
    return request.preset.startswith("tiny")
