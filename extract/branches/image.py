"""Single frames through an image encoder: `image=ENCODER[:WEIGHTS]`.

Encoders: `dinov2-*`, `dino-b16`, `clip-*`, `xclip-*` (whose frames exchange messages),
`efficientnet-lite0` (its weights come with a package), `hf:FOLDER` (any local Hugging Face model).
Outputs: `cls`, a vector per frame, and `present`, which frames the video has; CLIP's `embedding`;
`tokens`, those of all patches, `tokens:4x4`, averaged over fields, CLIP's `tokens-projected`; what
detectors reduce tokens to: `steps` and `angles` (of all tokens of a frame as one vector),
`roughness` and `incoherence` (of each patch's path), `velocity`. `?look=` feeds frames as a
detector does, see `extract.views.looks`; `?size=320` at another size, where the encoder takes any.
A frame that the video does not have is mean grey.
Legend: b views, f frames, p patches, d channels.
"""

from collections.abc import Mapping
from dataclasses import replace

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
from extract.encoders.encoder import CLS, EMBEDDING, PROJECTED, TOKENS, Encoder
from extract.encoders.known import EFFICIENTNET, PRESETS, known_encoder
from extract.encoders.training import EncoderTraining
from extract.errors import BadSetting
from extract.networks import paths, weights
from extract.views.looks import Look
from extract.views.sampling import CLIP_FRAMES

REVISION = 1
FAMILIES = (
    (CLS, EMBEDDING, PRESENT),
    (TOKENS,),
    (FIELDS,),
    (PROJECTED,),
    ("steps", "angles"),
    ("roughness", "incoherence"),
    (VELOCITY,),
)
OPTIONS = ("outputs", "dtype", "frames", "look", "size")
TRAINABLE = (f"image={EFFICIENTNET}",)
MAX_FRAMES = 256
MAX_SIZE = 1024
_LEAST = 3
"""Frames that a patch's path needs."""


class ImageBranch(Branch):
    """A frozen image encoder on every frame of a view."""

    name = "image"

    def __init__(self, request: BranchRequest, model: Encoder, look: Look) -> None:
        self.preset = request.preset
        self.device = torch.device(request.device)
        self.precision = request.computes_in
        frames = request.whole_number("frames", CLIP_FRAMES, MAX_FRAMES)
        if frames % model.group or frames < _LEAST:
            raise BadSetting(
                f"image={request.preset} looks at {model.group} frames together, and at "
                f"{_LEAST} or more in all; frames={frames}."
            )
        self._pictures = Pictures(look, frames, self.device)
        self.prepare = self._pictures.output
        shapes = _shapes(model, frames)
        small = (TOKENS, FIELDS, PROJECTED)
        wanted = wanted_outputs(request, shapes, FAMILIES, small)
        self.outputs, self.families, self.asked = wanted
        self.decides = {
            "architecture": dict(model.architecture),
            "weights": weights.content_hash(model.state_dict()),
            "preprocessing": look.plain(),
            "precision": self.precision,
            "revision": REVISION,
        }
        self.provenance = {"source": model.source}
        self.model = model.to(self.device).eval().requires_grad_(requires_grad=False)

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        present_bf, images_bfchw = self._pictures(batch)
        found = {
            name: numbers.float().reshape(*present_bf.shape, *numbers.shape[1:])
            for name, numbers in self.model(images_bfchw.flatten(0, 1)).items()
        }
        found[PRESENT] = present_bf.to(torch.uint8)
        found |= _reduced(found, present_bf, set(self.outputs))
        return {name: found[name] for name in self.outputs}

    def trainable(self) -> EncoderTraining | None:
        return EncoderTraining(self.model, self._pictures) if self.model.layers else None

    def example(self, count: int) -> Tensor:
        return self._pictures.example(count, self.device)


def load(request: BranchRequest) -> ImageBranch:
    request.check_options(OPTIONS)
    look = named_look(request)
    if "size" in request.options and request.preset != EFFICIENTNET:
        raise BadSetting(
            f"image={request.preset} looks at pictures of one size only; size= is for "
            f"image={EFFICIENTNET}."
        )
    if request.preset == HUGGING_FACE:
        from extract.encoders.hugging_face import image_encoder

        model: Encoder = image_encoder(request.weights, look)
        return ImageBranch(request, model, model.look)
    if request.preset not in PRESETS:
        have = ", ".join([*PRESETS, f"{HUGGING_FACE}:FOLDER"])
        raise BadSetting(f"Branch image: encoder {request.preset!r} unknown; have: {have}.")
    model = known_encoder(request.preset, request.weights)
    look = look or model.look
    if "size" in request.options:
        size = request.whole_number("size", look.short, MAX_SIZE)
        look = model.look = replace(look, height=size, width=size, short=size)
    return ImageBranch(request, model, look)


def _shapes(model: Encoder, frames: int) -> dict[str, tuple[int, ...]]:
    """Everything that there is of a view, and its shape."""
    single = model.shapes()
    patches, width = single[TOKENS]
    return {
        **{name: (frames, *shape) for name, shape in single.items()},
        PRESENT: (frames,),
        FIELDS: (frames, FIELD**2, width),
        "steps": (frames - 1,),
        "angles": (frames - 2,),
        "roughness": (patches,),
        "incoherence": (1,),
        VELOCITY: (frames - 1, width),
    }


def _reduced(
    found: Mapping[str, Tensor], present_bf: Tensor, wanted: set[str]
) -> dict[str, Tensor]:
    """What detectors make of tokens, where it is asked for."""
    tokens_bfpd = found[TOKENS]
    reduced: dict[str, Tensor] = {}
    if FIELDS in wanted:
        reduced[FIELDS] = fields(tokens_bfpd)
    if VELOCITY in wanted:
        reduced[VELOCITY] = velocity(tokens_bfpd)
    if "steps" in wanted:
        whole = torch.cat([found[CLS], tokens_bfpd.flatten(2)], -1)
        reduced |= {"steps": paths.lengths(whole), "angles": paths.angles(whole)}
    if "roughness" in wanted:
        views = zip(tokens_bfpd, present_bf.sum(1).tolist(), strict=True)
        torn = [_torn(tokens_fpd, frames) for tokens_fpd, frames in views]
        reduced["roughness"] = torch.cat([rough for rough, _ in torn])
        reduced["incoherence"] = torch.stack([apart for _, apart in torn])
    return reduced


def _torn(tokens_fpd: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Of the frames that are there; of too few of them, zeros."""
    if frames < _LEAST:
        return tokens_fpd.new_zeros(1, tokens_fpd.shape[1]), tokens_fpd.new_zeros(1)
    there = tokens_fpd[None, :frames]
    return paths.roughness(there), paths.incoherence(there)
