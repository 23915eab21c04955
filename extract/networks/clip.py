"""CLIP's image tower (Radford et al. 2021): image → one vector in the space of its captions.

Files: OpenAI's own (`ViT-B-32.pt`, `ViT-B-16.pt`, `ViT-L-14.pt`: TorchScript archives, read without
running them) and Hugging Face's of `CLIPModel` and `CLIPVisionModelWithProjection`. The tower's
size is seen from the weights; what belongs to captions is left out. The GELU is OpenAI's `quick`
one, which no file tells: weights trained elsewhere with the exact GELU would be read wrongly.
Legend: b images, n tokens, d channels.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from extract.errors import BadWeights
from extract.networks import weights
from extract.networks.vit import Block, BlockConfig, LayerNorm

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
IMAGE = 224
EPS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """What decides the tower's shape."""

    width: int
    depth: int
    heads: int
    patch: int
    out: int
    """Width of the captions' space; 0: weights without the projection into it."""
    image: int = IMAGE
    hidden: int = 0
    """Width of the MLPs' middle; 0: four times the width."""

    def described(self) -> dict[str, int]:
        """For a fingerprint; what is as in every published CLIP is left unsaid."""
        unsaid = {"image": IMAGE, "hidden": 0}
        return {key: size for key, size in asdict(self).items() if unsaid.get(key) != size}

    @property
    def tokens(self) -> int:
        """The class token, then a token per patch."""
        return 1 + (self.image // self.patch) ** 2


PRESETS = {
    "ViT-B/32": ClipConfig(width=768, depth=12, heads=12, patch=32, out=512),
    "ViT-B/16": ClipConfig(width=768, depth=12, heads=12, patch=16, out=512),
    "ViT-L/14": ClipConfig(width=1024, depth=24, heads=16, patch=14, out=768),
    "tiny": ClipConfig(width=16, depth=2, heads=2, patch=16, out=8),
}


def name_of(config: ClipConfig) -> str:
    return next(name for name, known in PRESETS.items() if known == config)


class ClipTower(nn.Module):
    """The image tower."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.class_embedding = nn.Parameter(torch.zeros(config.width))
        self.positional_embedding = nn.Parameter(torch.zeros(config.tokens, config.width))
        self.conv1 = nn.Conv2d(3, config.width, config.patch, stride=config.patch, bias=False)
        self.ln_pre = LayerNorm(config.width, eps=EPS)
        block = BlockConfig(
            width=config.width, heads=config.heads, hidden=config.hidden or 4 * config.width,
            gelu="quick", norm_eps=EPS, layer_scale=False,
        )  # fmt: skip
        self.blocks = nn.ModuleList(self.new_block(block) for _ in range(config.depth))
        self.ln_post = LayerNorm(config.width, eps=EPS)
        self.proj = nn.Parameter(torch.zeros(config.width, config.out)) if config.out else None

    def new_block(self, config: BlockConfig) -> nn.Module:
        return Block(config)

    def forward(self, images_bchw: Tensor) -> Tensor:
        """The vector that is compared with captions; the plain class token without a projection."""
        return self.projected(self.tokens(images_bchw)[:, 0])

    def embed(self, images_bchw: Tensor) -> Tensor:
        """The first block's input."""
        patches_bnd = self.conv1(images_bchw).flatten(2).transpose(1, 2)
        cls_b1d = self.class_embedding.expand(len(patches_bnd), 1, -1)
        tokens_bnd = torch.cat([cls_b1d, patches_bnd], 1) + self.positional_embedding
        normed: Tensor = self.ln_pre(tokens_bnd)
        return normed

    def tokens(self, images_bchw: Tensor) -> Tensor:
        """What the last block gives, before any norm: the class token, then the patches."""
        tokens_bnd = self.embed(images_bchw)
        for block in self.blocks:
            tokens_bnd = block(tokens_bnd)
        return tokens_bnd

    def projected(self, tokens: Tensor) -> Tensor:
        """Any of the last block's tokens in the captions' space."""
        normed: Tensor = self.ln_post(tokens)
        return normed if self.proj is None else normed @ self.proj


def from_state(state: Mapping[str, Tensor]) -> ClipTower:
    """The tower with the weights of one of OpenAI's files or of Hugging Face's."""
    ours = tower_names(state)
    name = _size(ours)
    with weights.unfilled():
        model = ClipTower(PRESETS[name])
    weights.fill(model, ours, model=f"the image tower of CLIP {name} for {IMAGE} pixels")
    return model


def tower_names(state: Mapping[str, Tensor]) -> weights.State:
    """The tower's tensors under our names, whoever named them; what belongs to captions is left
    out."""
    named = {_named(key): value for key, value in state.items()}
    ours = weights.joined_qkv(named, _QKV)
    ours.pop("", None)
    if "visual_projection" in ours:
        ours["proj"] = ours.pop("visual_projection").T.contiguous()
    return ours


def _size(state: Mapping[str, Tensor]) -> str:
    patches = list(state["conv1.weight"].shape) if "conv1.weight" in state else []
    for name, config in PRESETS.items():
        if patches == [config.width, 3, config.patch, config.patch]:
            return name
    known = ", ".join(name for name in PRESETS if name != "tiny")
    raise BadWeights(
        f"These weights are no image tower of CLIP that Telltale knows: its patch embedding is "
        f"{patches or 'missing'}. Give those of {known} by OpenAI, as they published them or as "
        f"Hugging Face's CLIPModel has them."
    )


_PREFIXES = ("visual.", "vision_model.")
_NAMES = (
    ("transformer.resblocks.", "blocks."),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".attn.in_proj_", ".attn.qkv."),
    (".attn.out_proj.", ".attn.proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    ("embeddings.class_embedding", "class_embedding"),
    ("embeddings.patch_embedding.", "conv1."),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("embeddings.position_ids", ""),
    ("pre_layrnorm.", "ln_pre."),
    ("pre_layernorm.", "ln_pre."),
    ("post_layernorm.", "ln_post."),
    ("encoder.layers.", "blocks."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
    (".self_attn.out_proj.", ".attn.proj."),
    (".message_fc.", ".message.fc."),
    (".message_ln.", ".message.ln."),
    (".message_attn.in_proj_", ".message.attn.qkv."),
    (".message_attn.out_proj.", ".message.attn.proj."),
)
_QKV = re.compile(
    r"(?P<block>.*?)(?:\.self_attn|_attn)\.(?P<part>[qkv])_proj\.(?P<what>weight|bias)"
)


def _named(original: str) -> str:
    """Our name of a parameter, whoever named it; none if it is not the tower's."""
    if original == "visual_projection.weight":
        return "visual_projection"
    prefix = next((prefix for prefix in _PREFIXES if original.startswith(prefix)), "")
    if not prefix:
        return ""
    key = original.removeprefix(prefix)
    for name, replacement in _NAMES:
        key = key.replace(name, replacement)
    return key
