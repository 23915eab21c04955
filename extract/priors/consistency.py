"""How much a video's frames stay alike, as VBench (Huang et al. 2024) has it.

The consistency of a frame is the mean of its likeness to the first frame and to the previous one,
each the cosine of a network's vectors, not below 0; a video's is the mean over all frames but the
first. Subject consistency takes DINO's class token, background consistency CLIP's image vector;
where both are asked for, their mean counts: our choice. We keep 1 - consistency, larger = worse.
Legend: b videos, t frames, h height, w width, c colour, d channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.networks import clip
from extract.networks.clip import ClipTower
from extract.networks.dinov2 import DinoV2
from extract.views.transforms import IMAGENET_MEAN, IMAGENET_STD


class Towers(nn.Module):
    """The networks, and what they say of frames."""

    def __init__(self, subject: DinoV2, background: ClipTower | None) -> None:
        super().__init__()
        self.subject = subject
        self.background = background

    def forward(self, frames_bthwc: Tensor) -> Tensor:
        """uint8 frames → inconsistency (b, t - 1) of all but the first."""
        images_bchw = frames_bthwc.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        videos = (len(frames_bthwc), -1)
        cls_bd = self.subject(_normalised(images_bchw, IMAGENET_MEAN, IMAGENET_STD))[:, 0]
        found = inconsistency(cls_bd.unflatten(0, videos))
        if self.background is None:
            return found
        clip_bd = self.background(_normalised(images_bchw, clip.MEAN, clip.STD))
        return (found + inconsistency(clip_bd.unflatten(0, videos))) / 2


def inconsistency(features_btd: Tensor) -> Tensor:
    """1 - VBench's consistency of every frame but the first (b, t - 1), in 0…1, in float64."""
    unit_btd = functional.normalize(features_btd.double(), dim=-1)
    first_bt = (unit_btd[:, 1:] * unit_btd[:, :1]).sum(-1)
    previous_bt = (unit_btd[:, 1:] * unit_btd[:, :-1]).sum(-1)
    return 1 - (first_bt.clamp(0, 1) + previous_bt.clamp(0, 1)) / 2


def _normalised(images_bchw: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    mean_c11, std_c11 = (
        torch.tensor(numbers, device=images_bchw.device).view(3, 1, 1) for numbers in (mean, std)
    )
    return (images_bchw - mean_c11) / std_c11
