"""The views themselves, as the video network takes them, so that training need not decode again.

`frames=rgb` keeps uint8 clips: 1.2 MB a view, as many bytes as they look. There is no network.
"""

import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.decoding.job import CLIPS
from extract.errors import BadSetting
from features_store.schema import ArraySpec

PRESET = "rgb"
REVISION = 1
"""Raise it when the pixels of a view change."""


class FramesBranch(Branch):
    """Gives back what it is given."""

    name = "frames"
    preset = PRESET
    precision = "float32"
    types_decide = False
    """There is one array, of one type."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")  # the clips never leave the host
        self.prepare = CLIPS
        self.outputs = {CLIPS.name: ArraySpec(shape=CLIPS.shape, dtype=CLIPS.dtype)}
        self.decides = {"clips": list(CLIPS.shape), "revision": REVISION}
        self.provenance = {"source": "no weights: the videos' own pixels"}

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        return {CLIPS.name: batch}

    def example(self, count: int) -> Tensor:
        return torch.randint(0, 256, (count, *CLIPS.shape), dtype=torch.uint8)


def load(request: BranchRequest) -> FramesBranch:
    request.check_options(())
    if request.precision not in (None, "float32"):
        raise BadSetting(f"Branch frames keeps bytes; leave precision={request.precision} out.")
    if request.preset != PRESET:
        raise BadSetting(f"Branch frames: preset {request.preset!r} unknown; have: {PRESET}.")
    if request.weights is not None:
        raise BadSetting(f"Branch frames has no weights; leave {request.weights} out.")
    return FramesBranch()
