"""X-CLIP's image tower (Ni et al. 2022): the frames of a clip → tokens that know of each other.

In every block each frame turns its class token into a message, the messages of a clip attend to
one another, and each comes back to its frame as one more token for the block's own attention; then
it is dropped. So a frame's vector depends on all frames of its group. Files: Hugging Face's of
`XCLIPModel` and `XCLIPVisionModel`, and Microsoft's own. What belongs to captions and prompts and
the transformer over frames behind the tower are left out: the detectors built on X-CLIP take the
tower alone. Legend: b images (clip by clip, frame by frame), g clips, t frames, n tokens,
d channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from extract.errors import BadSetting, BadWeights
from extract.networks import clip, weights
from extract.networks.clip import ClipConfig, ClipTower
from extract.networks.vit import Attention, Block, BlockConfig, LayerNorm

FRAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class XClipConfig(ClipConfig):
    """What decides the tower's shape."""

    out: int = 0
    frames: int = FRAMES
    """How many frames exchange messages."""


PRESETS = {
    "xclip-b16": XClipConfig(width=768, depth=12, heads=12, patch=16),
    "xclip-b32": XClipConfig(width=768, depth=12, heads=12, patch=32),
    "xclip-tiny": XClipConfig(width=16, depth=2, heads=2, patch=32),
}
FILES = {
    "xclip-b16": "model.safetensors of microsoft/xclip-base-patch16, or Microsoft's k400_16_8.pth",
    "xclip-b32": "model.safetensors of microsoft/xclip-base-patch32, or Microsoft's k400_32_8.pth",
}
"""What each preset's weights are called where they are published."""


class Messages(nn.Module):
    """What the frames of a clip tell each other."""

    def __init__(self, config: BlockConfig, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.fc = nn.Linear(config.width, config.width)
        self.ln = LayerNorm(config.width, eps=config.norm_eps)
        self.attn = Attention(config)

    def forward(self, cls_bd: Tensor) -> Tensor:
        """Class tokens → one message for each, as a token (b, 1, d)."""
        own_gtd: Tensor = self.fc(cls_bd).reshape(-1, self.frames, cls_bd.shape[-1])
        messages_gtd: Tensor = own_gtd + self.attn(self.ln(own_gtd))
        return messages_gtd.flatten(0, 1)[:, None]


class XClipBlock(Block):
    """A transformer block whose attention sees one more token, the frame's message."""

    def __init__(self, config: BlockConfig, frames: int) -> None:
        super().__init__(config)
        self.message = Messages(config, frames)

    def forward(self, x_bnd: Tensor, factors: Tensor | None = None) -> Tensor:
        """`factors` as any block takes them."""
        told_bnd = torch.cat([x_bnd, self.message(x_bnd[:, 0])], 1)
        answered: Tensor = super().forward(told_bnd, factors)
        return answered[:, :-1]


class XClipTower(ClipTower):
    """The image tower; images come as whole clips, one after the other."""

    config: XClipConfig

    def new_block(self, config: BlockConfig) -> nn.Module:
        return XClipBlock(config, self.config.frames)

    def embed(self, images_bchw: Tensor) -> Tensor:
        frames = self.config.frames
        if len(images_bchw) % frames:
            raise BadSetting(
                f"X-CLIP looks at {frames} frames together and got {len(images_bchw)}; give a "
                f"multiple of {frames}."
            )
        return super().embed(images_bchw)


def from_state(state: Mapping[str, Tensor], config: XClipConfig, name: str) -> XClipTower:
    """The tower with the weights of one of Hugging Face's files or of Microsoft's."""
    ours = clip.tower_names(state)
    if not any(".message." in key for key in ours):
        raise BadWeights(
            f"These weights are not {name}: no frame sends messages in them. Give "
            f"{FILES.get(name, 'those of an X-CLIP')}."
        )
    if not config.out:
        ours.pop("proj", None)
    with weights.unfilled():
        model = XClipTower(config)
    weights.fill(model, ours, model=name)
    return model
