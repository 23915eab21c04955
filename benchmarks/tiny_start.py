"""Where the tiny networks start: patch embeddings that see, attention near identity.

Patches are embedded by their whitened principal components; queries and keys begin as the tokens
themselves, so that tokens attend to their like; layer scales begin at 0.4. Training from random
weights takes far longer to get as far.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.tiny_clips import Sample
from extract.branches.depthpro import DepthProEncoder
from extract.branches.internvideo2 import InternVideo2
from extract.networks.vit import Block, LayerScale
from extract.views.transforms import IMAGENET_MEAN, IMAGENET_STD

_SCALE = 0.4
_PATCHES = 6000


def start_video(model: InternVideo2, samples: Sequence[Sample], seed: int) -> None:
    """Set all weights."""
    generator = torch.Generator().manual_seed(seed)
    _blocks(model, generator)
    a = model.architecture
    pictures = [frame for sample in samples for frame in sample.clip_thwc[::3]]
    statistics = (np.array(IMAGENET_MEAN), np.array(IMAGENET_STD))
    _embedding(model.patch_embed.proj, _patches(pictures, a.patch, statistics, seed))
    nn.init.normal_(model.cls_token, 0, 0.5, generator=generator)


def start_depth(model: DepthProEncoder, samples: Sequence[Sample], seed: int) -> None:
    """Set all weights."""
    import cv2

    generator = torch.Generator().manual_seed(seed)
    _blocks(model, generator)
    encoder = model.patch_encoder
    patch = encoder.patch_embed.proj.kernel_size[0]
    size = (384, 384)
    pictures = [cv2.resize(sample.depth_hwc, size) for sample in samples]
    half = (np.full(3, 0.5), np.full(3, 0.5))
    found = _patches(pictures, patch, half, seed)
    for one in (encoder, model.image_encoder):
        _embedding(one.patch_embed.proj, found)
        width = one.pos_embed.shape[-1]
        with torch.no_grad():
            one.pos_embed.copy_(_sincos(width, size[0] // patch)[None])
        nn.init.normal_(one.cls_token, 0, 0.5, generator=generator)
    with torch.no_grad():
        # The four matrices of an upsampling begin alike, so that their mean is large.
        for name in ("upsample2.1.weight", "upsample_lowres.weight"):
            weight = model.get_parameter(name)
            weight.copy_(weight.mean((2, 3), keepdim=True).expand_as(weight) * 2)


def _blocks(model: nn.Module, generator: torch.Generator) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d):
            fan = module.weight[0].numel()
            nn.init.normal_(module.weight, 0, fan**-0.5, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, Block):
            _near_identity(module, generator)


def _near_identity(block: Block, generator: torch.Generator) -> None:
    with torch.no_grad():
        weight = block.attn.qkv.weight
        width = weight.shape[1]
        noise = torch.empty(2 * width, width).normal_(0, 0.3 * width**-0.5, generator=generator)
        weight[: 2 * width] = torch.eye(width).repeat(2, 1) + noise
        for scale in (block.ls1, block.ls2):
            assert isinstance(scale, LayerScale)
            scale.gamma.fill_(_SCALE)


def _patches(
    pictures: Sequence[np.ndarray], patch: int, statistics: tuple[np.ndarray, np.ndarray], seed: int
) -> Tensor:
    """(count, c·h·w), normalised."""
    rng = np.random.default_rng(seed)
    found = np.empty((_PATCHES, patch, patch, 3), np.float32)
    for row in range(_PATCHES):
        picture = pictures[int(rng.integers(len(pictures)))]
        top, left = (int(rng.integers(size // patch)) * patch for size in picture.shape[:2])
        found[row] = picture[top : top + patch, left : left + patch]
    found = (found / 255 - statistics[0]) / statistics[1]
    return torch.from_numpy(found.astype(np.float32).transpose(0, 3, 1, 2).reshape(_PATCHES, -1))


def _embedding(proj: nn.Conv2d | nn.Conv3d, patches: Tensor) -> None:
    """The components that vary most, each brought to variance 1."""
    mean = patches.mean(0)
    _, values, vectors = torch.linalg.svd(patches - mean, full_matrices=False)
    deviation = values / len(patches) ** 0.5
    count = proj.weight.shape[0]
    matrix = vectors[:count] / (deviation[:count, None] + 0.05 * deviation[0])
    with torch.no_grad():
        proj.weight.copy_(matrix.reshape(proj.weight.shape))
        assert proj.bias is not None
        proj.bias.copy_(-matrix @ mean)


def _sincos(width: int, side: int) -> Tensor:
    """(1 + side², width): sines and cosines of row and column; 0 for the class token."""
    quarter = width // 4
    speeds = 1 / 100 ** (torch.arange(quarter) / quarter)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [place.flatten()[:, None] * speeds for place in (rows, columns)]
    grid = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], 1)
    return torch.cat([torch.zeros(1, width), 0.5 * grid])
