"""What the training videos are like on average: where a fusion head's norm starts from, and what
its explanations are measured against. Read in parts, so that there is no copy of all features."""

import torch
from torch import Tensor

from heads.parts.arrays import CHUNK
from heads.parts.fusion_net import Layout, plain_norm


@torch.no_grad()
def means_of(x: Tensor, layout: Layout) -> Tensor:
    """(n, V, columns) → (columns): the mean of what the folded head multiplies."""
    total = torch.zeros(x.shape[-1], dtype=torch.float64, device=x.device)
    attn = slice(layout.normed, layout.video)
    for part in torch.split(x, CHUNK):
        total += part.sum((0, 1), dtype=torch.float64)
        total[attn] -= part[..., attn].sum((0, 1), dtype=torch.float64)
        total[attn] += plain_norm(part[..., attn]).sum((0, 1), dtype=torch.float64)
    return (total / (x.shape[0] * x.shape[1])).float()


@torch.no_grad()
def start_statistics(tensors: dict[str, Tensor], x: Tensor, layout: Layout) -> None:
    """Batch norm's running mean and variance begin at the training videos' own. From 0 and 1 they
    would take dozens of steps to get there, and early epochs would be judged by wrong ones."""
    if "down_norm.running_mean" not in tensors:
        return
    count = x.shape[0] * x.shape[1] * layout.pooled
    sums = torch.zeros(2, layout.width, dtype=torch.float64, device=x.device)
    centre = x[0, 0, : layout.width].double()  # near the mean, so that squares lose nothing
    for part in torch.split(x, CHUNK):
        shape = (*part.shape[:-1], layout.pooled, layout.width)
        pairs = part[..., : layout.normed].reshape(shape) - centre
        sums += torch.stack([pairs.sum((0, 1, 2)), pairs.square().sum((0, 1, 2))])
    mean, squares = sums / count
    tensors["down_norm.running_mean"].copy_(centre + mean)
    tensors["down_norm.running_var"].copy_((squares - mean.square()) * (count / max(count - 1, 1)))
