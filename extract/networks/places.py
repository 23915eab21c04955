"""Places in a picture, between its pixels too. Legend: p pairs, c channels, h height, w width."""

import torch
from torch import Tensor
from torch.nn import functional


def pixels(like_pchw: Tensor) -> Tensor:
    """Each pixel's own place (1, 2, h, w): right, down."""
    height, width = like_pchw.shape[-2:]
    down, right = torch.meshgrid(
        torch.arange(height, device=like_pchw.device),
        torch.arange(width, device=like_pchw.device),
        indexing="ij",
    )
    return torch.stack([right, down])[None].float()


def sample(image_pchw: Tensor, places_phw2: Tensor, *, padding: str) -> Tensor:
    """An image between its pixels, at places in pixels; beside it there is `padding`."""
    height, width = image_pchw.shape[-2:]
    right, down = places_phw2.unbind(-1)
    relative = torch.stack([(2 * right + 1) / width - 1, (2 * down + 1) / height - 1], -1)
    return functional.grid_sample(image_pchw, relative, padding_mode=padding, align_corners=False)
