"""Depth Pro's encoder as HumanSAM uses it: the lowest-resolution feature, averaged over 48 x 48.

That feature depends on the 384-pixel level alone: one pass of the patch encoder and one of the
image encoder, where the released code runs 36. What follows the two is linear and its transposed
convolutions do not overlap, so the average is taken on their tokens first and the rest is a few
matrix products on one vector. Output: `depth`, one vector for each of a view's two frames.
Legend: b images, n tokens, d channels.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from extract.branch import Branch, BranchRequest
from extract.decoding.job import DEPTH, FULL_FRAME_DEPTH
from extract.errors import BadSetting, BadWeights
from extract.networks import weights
from extract.networks.dinov2 import DinoV2, VitConfig, official_names
from extract.views.transforms import DEPTH_SIZE, DEPTH_SOURCES
from extract.views.view import DEPTH_POSITIONS
from features_store.schema import ArraySpec

REVISION = 1
OPTIONS = ("source", "dtype", "random")
_PARTS = ("patch_encoder", "image_encoder", "upsample2", "upsample_lowres", "fuse_lowres")
_OURS = re.compile(rf"({'|'.join(_PARTS)})\..*")
_NOT_NEEDED = re.compile(
    r"(decoder|head|fov|upsample0|upsample1|upsample_latent0|upsample_latent1)\..*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What decides the encoder's shape."""

    width: int
    depth: int
    heads: int
    hidden: int
    out: int
    image: int = DEPTH_SIZE
    patch: int = 16

    @property
    def transformer(self) -> VitConfig:
        return VitConfig(
            width=self.width, depth=self.depth, heads=self.heads, hidden=self.hidden,
            image=self.image, patch=self.patch,
        )  # fmt: skip


PRESETS = {
    "L16": Architecture(width=1024, depth=24, heads=16, hidden=4096, out=1024),
    "tiny": Architecture(width=64, depth=3, heads=4, hidden=192, out=64),
}


class DepthProEncoder(nn.Module):
    """The part of Depth Pro's encoder that reaches its lowest-resolution feature."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.patch_encoder = DinoV2(a.transformer)
        self.image_encoder = DinoV2(a.transformer)
        self.upsample2 = nn.Sequential(
            nn.Conv2d(a.width, a.out, 1, bias=False),
            nn.ConvTranspose2d(a.out, a.out, 2, stride=2, bias=False),
        )
        self.upsample_lowres = nn.ConvTranspose2d(a.width, a.out, 2, stride=2)
        self.fuse_lowres = nn.Conv2d(2 * a.out, a.out, 1)

    def forward(self, images_bchw: Tensor) -> Tensor:
        """384-pixel images → the feature's mean (b, out)."""
        patch_bd = self.patch_encoder(images_bchw)[:, 1:].float().mean(1)
        image_bd = self.image_encoder(images_bchw)[:, 1:].float().mean(1)
        return self.tail(patch_bd, image_bd)

    def tail(self, patch_bd: Tensor, image_bd: Tensor) -> Tensor:
        """What comes after the transformers, applied to mean tokens, in float32."""
        project = self.get_parameter("upsample2.0.weight").float()
        spread = self.get_parameter("upsample2.1.weight").float()
        with torch.autocast(patch_bd.device.type, enabled=False):
            patch_bd = patch_bd @ project[:, :, 0, 0].T @ spread.mean((2, 3))
            image_bd = image_bd @ self.upsample_lowres.weight.float().mean((2, 3))
            image_bd = image_bd + _bias(self.upsample_lowres)
            fused = torch.cat([patch_bd, image_bd], 1)
            return fused @ self.fuse_lowres.weight.float()[:, :, 0, 0].T + _bias(self.fuse_lowres)


class DepthProBranch(Branch):
    """The frozen encoder on frames 0 and 3 of each view."""

    name = "depthpro"

    def __init__(self, request: BranchRequest, model: DepthProEncoder, source: str) -> None:
        a = PRESETS[request.preset]
        frames = request.option("source", "official", DEPTH_SOURCES)
        dtype = request.option("dtype", "float16", ("float16", "float32"))
        self.preset = request.preset
        self.device = torch.device(request.device)
        self.precision = request.computes_in
        self.outputs = {"depth": ArraySpec(shape=(len(DEPTH_POSITIONS), a.out), dtype=dtype)}
        self.prepare = DEPTH if frames == "official" else FULL_FRAME_DEPTH
        self.decides = {
            "architecture": asdict(a),
            "weights": weights.content_hash(model.state_dict()),
            "preprocessing": {"size": DEPTH_SIZE, "frames": DEPTH_POSITIONS, "source": frames},
            "precision": self.precision,
            "revision": REVISION,
        }
        self.provenance = {"source": source}
        self.model = model.to(self.device).eval().requires_grad_(requires_grad=False)

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        pooled_bd: Tensor = self.model(batch.flatten(0, 1))
        return {"depth": pooled_bd.reshape(*batch.shape[:2], -1)}

    def example(self, count: int) -> Tensor:
        shape = (count, len(DEPTH_POSITIONS), 3, DEPTH_SIZE, DEPTH_SIZE)
        return torch.rand(shape, device=self.device) * 2 - 1


def load(request: BranchRequest) -> DepthProBranch:
    request.check_options(OPTIONS)
    if request.preset not in PRESETS:
        raise BadSetting(
            f"Depth Pro preset {request.preset!r} unknown; have: {', '.join(PRESETS)}."
        )
    architecture = PRESETS[request.preset]
    if request.wants_random("tiny"):
        model = DepthProEncoder(architecture)
        weights.seeded(model, seed=2)
        return DepthProBranch(request, model, weights.RANDOM)
    path, source = weights.given_or_shipped(request.name, request.preset, request.weights)
    if path is None:
        raise BadWeights(
            f"depthpro={request.preset} needs weights: depthpro={request.preset}:PATH, with "
            f"depth_pro.pt as Apple's ml-depth-pro repository links it, or model.safetensors of "
            f"Hugging Face's DepthPro. To try things out there is depthpro=tiny, which was "
            f"trained on made-up people and knows nothing of real ones."
        )
    model = from_state(weights.read_state(path), architecture)
    return DepthProBranch(request, model, source)


def from_state(state: Mapping[str, Tensor], architecture: Architecture) -> DepthProEncoder:
    """The encoder with the weights of Apple's file, Hugging Face's, or a HumanSAM checkpoint."""
    state = weights.without_prefix(state, ("depth_pro.", "model2."))
    if any(".embeddings." in key for key in state):
        state = _from_hugging_face(state)
    state = weights.without_prefix(state, ("encoder.",)) if _is_whole(state) else dict(state)
    ours = {key: value for key, value in state.items() if not _NOT_NEEDED.fullmatch(key)}
    with weights.unfilled():
        model = DepthProEncoder(architecture)
    weights.fill(model, ours, model="Depth Pro's encoder")
    return model


def _is_whole(state: Mapping[str, Tensor]) -> bool:
    return any(key.startswith("encoder.") for key in state)


_HF_PREFIXES = (
    (re.compile(r"encoder\.(patch|image)_encoder\.model\.(.*)"), r"encoder.\1_encoder.\2"),
    (re.compile(r"neck\.feature_upsample\.scaled_images\.0\.layers\.(.*)"),
     r"encoder.upsample2.\1"),
    (re.compile(r"neck\.feature_upsample\.image_block\.layers\.0\.(.*)"),
     r"encoder.upsample_lowres.\1"),
    (re.compile(r"neck\.fuse_image_with_low_res\.(.*)"), r"encoder.fuse_lowres.\1"),
)  # fmt: skip
_HF_NOT_NEEDED = re.compile(
    r"(fov_model|fusion_stage|head|neck\.feature_projection|"
    r"neck\.feature_upsample\.(intermediate|scaled_images\.[1-9]))\..*|.*\.mask_token"
)


def _from_hugging_face(state: Mapping[str, Tensor]) -> weights.State:
    """Hugging Face's names → Apple's."""
    renamed: weights.State = {}
    for original, value in state.items():
        if _HF_NOT_NEEDED.fullmatch(original):
            continue
        key = original
        for pattern, replacement in _HF_PREFIXES:
            key = pattern.sub(replacement, key)
        renamed[key] = value
    return official_names(renamed)


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.float()
