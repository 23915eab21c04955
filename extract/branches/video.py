"""Clips through a video encoder: `video=hf:FOLDER` (VideoMAE, TimeSformer, V-JEPA 2, ViViT).

Outputs: `cls`, a vector per view, and `present`, which frames the video has; `tokens` by time and
patch; `tokens:4x4`, averaged over fields; `velocity`, how much tokens change from one time to the
next, a few kilobytes where tokens are megabytes. A view must have as many frames as the encoder
looks at, such as those of `frames-16@all`; a frame that the video does not have is mean grey.
"""

import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.encoders.branch_parts import (
    FIELD,
    FIELDS,
    HUGGING_FACE,
    PRESENT,
    VELOCITY,
    Pictures,
    fields,
    named_look,
    velocity,
    wanted_outputs,
)
from extract.encoders.encoder import CLS, TOKENS
from extract.encoders.hugging_face import HuggingFaceClips, clip_encoder
from extract.errors import BadSetting
from extract.networks import weights

REVISION = 1
FAMILIES = ((CLS, PRESENT), (TOKENS,), (FIELDS,), (VELOCITY,))
OPTIONS = ("outputs", "dtype", "look")


class VideoBranch(Branch):
    """A frozen video encoder on every view."""

    name = "video"

    def __init__(self, request: BranchRequest, model: HuggingFaceClips) -> None:
        self.preset = request.preset
        self.device = torch.device(request.device)
        self.precision = request.computes_in
        self._pictures = Pictures(model.look, model.frames, self.device)
        self.prepare = self._pictures.output
        single = model.shapes()
        times, _, width = single[TOKENS]
        shapes: dict[str, tuple[int, ...]] = {
            **single,
            PRESENT: (model.frames,),
            FIELDS: (times, FIELD**2, width),
            VELOCITY: (times - 1, width),
        }
        wanted = wanted_outputs(request, shapes, FAMILIES, (TOKENS, FIELDS))
        self.outputs, self.families, self.asked = wanted
        self.decides = {
            "architecture": dict(model.architecture),
            "weights": weights.content_hash(model.state_dict()),
            "preprocessing": model.look.plain(),
            "precision": self.precision,
            "revision": REVISION,
        }
        self.provenance = {"source": model.source}
        self.model = model.to(self.device).eval().requires_grad_(requires_grad=False)

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        present_bf, clips_bfchw = self._pictures(batch)
        found = {name: numbers.float() for name, numbers in self.model(clips_bfchw).items()}
        found[PRESENT] = present_bf.to(torch.uint8)
        if FIELDS in self.outputs:
            found[FIELDS] = fields(found[TOKENS])
        if VELOCITY in self.outputs:
            found[VELOCITY] = velocity(found[TOKENS])
        return {name: found[name] for name in self.outputs}

    def example(self, count: int) -> Tensor:
        return self._pictures.example(count, self.device)


def load(request: BranchRequest) -> VideoBranch:
    request.check_options(OPTIONS)
    if request.preset != HUGGING_FACE:
        raise BadSetting(
            f"Branch video: {request.preset!r} unknown; give video={HUGGING_FACE}:FOLDER, a local "
            f"folder of a video encoder."
        )
    return VideoBranch(request, clip_encoder(request.weights, named_look(request)))
