"""Aligned windows of faces as they are, so that training need not decode, follow and align again.

`faces=rgb?boxes=FACES` keeps what the branch `altfreezing` looks at, as bytes: 4.8 MB a window of
32 frames of 224 pixels. `present` and `where` are that branch's. There is no network.
"""

import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.branches.altfreezing import FACE_ARRAYS, FACE_OPTIONS, PLACE, Faces, even_frames
from extract.decoding.job import CLIPS
from extract.encoders.branch_parts import PRESENT
from extract.errors import BadSetting
from extract.networks.resnet3d import FRAMES, IMAGE
from features_store.schema import ArraySpec

PRESET = "rgb"
OPTIONS = (*FACE_OPTIONS, "side")
REVISION = 1
"""Raise it when the pixels of a window change."""
_LARGEST = 1024


class FacesBranch(Branch):
    """Gives back what it is given."""

    name = "faces"
    preset = PRESET
    precision = "float32"

    def __init__(self, request: BranchRequest) -> None:
        self.device = torch.device("cpu")  # the windows never leave the host
        frames = even_frames(request, FRAMES)
        side = request.whole_number("side", IMAGE, _LARGEST)
        self.faces = Faces(request, frames, side)
        self.prepare = self.faces.output
        self.outputs = {
            CLIPS.name: ArraySpec(shape=(frames, side, side, 3), dtype="uint8"),
            **FACE_ARRAYS,
        }
        self.decides = {**self.faces.decides, "revision": REVISION}
        self.provenance = {"source": "no weights: the videos' own pixels"}

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        present_b1, where_b4, clips_btssc = self.faces.taken_apart(batch)
        return {CLIPS.name: clips_btssc, PRESENT: present_b1, PLACE: where_b4}

    def example(self, count: int) -> Tensor:
        return self.faces.example(count, self.device)


def load(request: BranchRequest) -> FacesBranch:
    request.check_options(OPTIONS)
    if request.precision not in (None, "float32"):
        raise BadSetting(f"Branch faces keeps bytes; leave precision={request.precision} out.")
    if request.preset != PRESET:
        raise BadSetting(f"Branch faces: preset {request.preset!r} unknown; have: {PRESET}.")
    if request.weights is not None:
        raise BadSetting(f"Branch faces has no weights; leave {request.weights} out.")
    return FacesBranch(request)
