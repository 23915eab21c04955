"""InternVideo2's vision transformer, and the three vectors that HumanSAM makes of its tokens.

Outputs: `cls`, `avg` and `attn`, taken before `down_norm` and `fc_norm`, which belong to the head;
`tokens`, the final ones; `tokens:4x4`, the same averaged over 4 x 4 fields of each frame;
`tokens@k`, the input of block k. `?quantise=int8` keeps tokens in half the bytes, see
`features_store.schema.ArraySpec`. Official checkpoints load under their own names.
Legend: b batch, t frames, h w height and width, c colour, n tokens, d channels.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Literal

import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.decoding.job import CLIPS
from extract.errors import BadSetting, BadWeights
from extract.networks import position, weights
from extract.networks.internvideo2 import (
    FIELD,
    NOT_DECAYED,
    POOLED,
    PRESETS,
    Architecture,
    InternVideo2,
)
from extract.trainable import Trainable
from extract.views.transforms import IMAGENET_MEAN, IMAGENET_STD
from features_store.schema import ArraySpec

__all__ = [
    "FIELD", "POOLED", "PRESETS", "Architecture", "InternVideo2", "InternVideo2Branch",
    "InternVideo2Training", "asked_outputs", "families", "from_state", "load", "output_shapes",
    "stored_outputs", "view_flops",
]  # fmt: skip
REVISION = 1
OPTIONS = ("outputs", "gelu", "dtype", "random", "quantise")
TRAINABLE = ("internvideo2",)
_PREFIXES = ("module.", "backbone.", "encoder.", "model1.")
_HEAD_KEYS = re.compile(r"(head|down_norm|fc_norm)\..*")


_FILES = {
    "S14": "a distilled InternVideo2-S14 checkpoint",
    "B14": "a distilled InternVideo2-B14 checkpoint",
    "L14": "internvideo2-L14-k400.bin, as the HumanSAM README links it",
    "1B": "an InternVideo2-1B checkpoint, such as 1B_ft_k710_f8.pth",
    "6B": "an InternVideo2-6B checkpoint",
}


class InternVideo2Branch(Branch):
    """A frozen InternVideo2 that turns uint8 clips into named arrays."""

    name = "internvideo2"

    def __init__(self, request: BranchRequest, model: InternVideo2, source: str) -> None:
        a = model.architecture
        self.preset = request.preset
        self.device = torch.device(request.device)
        self.precision = request.computes_in
        self.asked = asked_outputs(request, a)
        self.families = families(self.asked)
        self.outputs = stored_outputs(request, a)
        self.prepare = CLIPS
        self.decides = {
            "architecture": asdict(a),
            "weights": weights.content_hash(model.state_dict()),
            "preprocessing": {"size": a.image, "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
            "precision": self.precision,
            "revision": REVISION,
        }
        self.provenance = {"source": source}
        self.model = model.to(self.device).eval().requires_grad_(requires_grad=False)
        self._statistics = statistics(self.device)

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.model(self.normalised(batch), tuple(self.outputs))
        return found

    def normalised(self, batch: Tensor) -> Tensor:
        """uint8 clips as the network takes them."""
        return normalised(batch, *self._statistics)

    def trainable(self) -> "InternVideo2Training":
        return InternVideo2Training(self.model)

    def example(self, count: int) -> Tensor:
        a = self.model.architecture
        shape = (count, a.frames, a.image, a.image, 3)
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)


class InternVideo2Training(Trainable):
    """Layer 0 is the embedding, then the blocks, then the pool; each can be the first to learn."""

    def __init__(self, model: InternVideo2) -> None:
        self.model: InternVideo2 = model
        self.blocks = tuple(model.blocks)
        self.paths = len(self.blocks)
        self.pooled = POOLED
        self.layers = self.paths + 2
        self.cuts = tuple(range(self.layers))
        self.not_decayed = NOT_DECAYED
        self.adapter = 0 if model.adapter is None else model.adapter.channels
        self._statistics = statistics(torch.device("cpu"))

    def layer_of(self, name: str) -> int:
        return self.model.layer_of(name)

    def cached(self, layer: int) -> str | None:
        if layer == 0:
            return None
        return f"tokens@{layer - 1}" if layer <= self.paths else "tokens"

    def enter(self, rows: Tensor, layer: int) -> Tensor:
        clips_bcthw = normalised(rows, *(x.to(rows.device) for x in self._statistics))
        if layer == 0:
            return clips_bcthw
        return self.model.run(self.model.embed(clips_bcthw), 0, layer - 1)

    def vectors(self, x: Tensor, layer: int, keep: Tensor | None = None) -> dict[str, Tensor]:
        tokens_bnd = x if layer else self.model.embed(x)
        for index in range(max(0, layer - 1), self.paths):
            tokens_bnd = self.blocks[index](tokens_bnd, None if keep is None else keep[index])
        return self.model.vectors(self.model.adapted(tokens_bnd))

    def adapt(self, channels: int, seed: int) -> None:
        self.model.add_adapter(channels, seed)
        self.adapter = channels


def normalised(clips_bthwc: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 clips as the network takes them."""
    return (clips_bthwc.permute(0, 4, 1, 2, 3).float() / 255 - mean) / std


def statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation of colours, to be kept."""
    mean, std = (torch.tensor(x).view(3, 1, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    return mean.to(device), std.to(device)


def load(request: BranchRequest) -> InternVideo2Branch:
    request.check_options(OPTIONS)
    if request.preset not in PRESETS:
        raise BadSetting(
            f"InternVideo2 preset {request.preset!r} unknown; have: {', '.join(PRESETS)}."
        )
    architecture = PRESETS[request.preset]
    erf = request.option("gelu", "tanh", ("tanh", "erf")) == "erf"
    gelu: Literal["erf", "tanh"] = "erf" if erf else "tanh"
    architecture = replace(architecture, gelu=gelu)
    if request.wants_random("tiny"):
        model = InternVideo2(architecture)
        weights.seeded(model, seed=1)
        return InternVideo2Branch(request, model, weights.RANDOM)
    path, source = weights.given_or_shipped(request.name, request.preset, request.weights)
    if path is None:
        raise BadWeights(
            f"internvideo2={request.preset} needs weights: internvideo2={request.preset}:PATH, "
            f"with {_FILES[request.preset]}. To try things out there is internvideo2=tiny, which "
            f"was trained on made-up people and knows nothing of real ones."
        )
    model, _ = from_state(weights.read_state(path), architecture, request.preset)
    return InternVideo2Branch(request, model, source)


def from_state(
    state: Mapping[str, Tensor], architecture: Architecture, model_name: str
) -> tuple[InternVideo2, weights.State]:
    """The network with an official checkpoint's weights, and what belongs to its head."""
    state = weights.without_prefix(state, _PREFIXES)
    body = {key: value for key, value in state.items() if not _HEAD_KEYS.fullmatch(key)}
    head = {key: weights.float32(value) for key, value in state.items() if key not in body}
    separate = "pos_embed_spatial" in body
    with weights.unfilled():
        model = InternVideo2(replace(architecture, separate_positions=separate))
    _fit_input(body, model.architecture)
    if "adapter.reduce.weight" in body:
        model.add_adapter(len(body["adapter.reduce.weight"]))
    weights.fill(model, body, model=f"InternVideo2-{model_name}", hint=_preset_hint(body))
    return model, head


def asked_outputs(request: BranchRequest, a: Architecture) -> tuple[str, ...]:
    """By name, in the order of the request."""
    names = request.options.get("outputs", ",".join(POOLED)).split(",")
    unknown = [name for name in names if name not in output_shapes(a)]
    if unknown or len(set(names)) != len(names):
        raise BadSetting(
            f"internvideo2 outputs {', '.join(names)}: give each of these at most once: cls, avg, "
            f"attn, tokens, tokens:4x4, tokens@K with K from 0 to {a.depth - 1}."
        )
    return tuple(names)


def families(asked: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The pooled vectors are small and come together; every kind of tokens is by itself."""
    pooled = [POOLED] if set(asked) & set(POOLED) else []
    return (*pooled, *((name,) for name in asked if name not in POOLED))


def stored_outputs(request: BranchRequest, a: Architecture) -> dict[str, ArraySpec]:
    """The outputs of all families that are asked for, per view, as they are stored."""
    dtype = request.option("dtype", "float16", ("float16", "float32"))
    tokens = request.option("quantise", "none", ("none", "int8"))
    shapes = output_shapes(a)
    names = [name for family in families(asked_outputs(request, a)) for name in family]
    return {
        name: ArraySpec(
            shape=shapes[name], dtype=dtype, quantise="none" if name in POOLED else tokens
        )
        for name in names
    }


def output_shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    """Everything that there is, per view."""
    return {
        "cls": (a.width,),
        "avg": (a.width,),
        "attn": (a.pool_width,),
        "tokens": (a.tokens, a.width),
        "tokens:4x4": (1 + a.frames * FIELD**2, a.width),
        **{f"tokens@{k}": (a.tokens, a.width) for k in range(a.depth)},
    }


def _fit_input(body: weights.State, a: Architecture) -> None:
    """Resize position embeddings, and give an image model's patch embedding its time axis."""
    patch = body.get("patch_embed.proj.weight")
    if patch is not None and patch.ndim == 4:
        body["patch_embed.proj.weight"] = patch[:, :, None]
    if "pos_embed" in body:
        joint_1nd = weights.float32(body["pos_embed"])
        body["pos_embed"] = position.resize_joint(joint_1nd, a.frames, a.side)
    if "pos_embed_spatial" in body:
        space_1ld = weights.float32(body["pos_embed_spatial"])
        body["pos_embed_spatial"] = position.resize_space(space_1ld, a.side)
    if "pos_embed_temporal" in body:
        time_t1d = weights.float32(body["pos_embed_temporal"]).transpose(0, 1)
        body["pos_embed_temporal"] = position.resize_time(time_t1d, a.frames).transpose(0, 1)


def _preset_hint(body: Mapping[str, Tensor]) -> str:
    width = body["cls_token"].shape[-1] if "cls_token" in body else 0
    depth = len({key.split(".")[1] for key in body if key.startswith("blocks.")})
    fitting = [name for name, a in PRESETS.items() if (a.width, a.depth) == (width, depth)]
    if not fitting:
        return ""
    return f" They look like preset {fitting[0]} (width {width}, {depth} blocks)."


def view_flops(architecture: Architecture) -> float:
    """Multiplications and additions of one view's matrix products, the pool's keys aside."""
    a = architecture
    linear = 2 * a.tokens * a.width * (4 * a.width + 2 * a.hidden)
    attention = 4 * a.tokens**2 * a.width
    return a.depth * (linear + attention) + 2 * math.prod((a.tokens, a.width, 3, a.patch**2))
