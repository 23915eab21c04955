"""Label smoothing and rank weighting.

The weight of a sample is log(e + rank): 1 for the most obvious anomaly, log(e + 1) = 1.31 for the
least. The batch loss is the plain mean of weighted losses, not divided by the sum of weights.
Reals have rank 1, so the paper's weights also weigh classes; `within_class` divides each weight by
its class's mean, and ranks alone remain.
"""

import math

import numpy as np
import torch
from torch import Tensor

from features_store.table import Table
from heads.errors import BadTable


def smoothed_losses(logits: Tensor, targets: Tensor, smoothing: Tensor | float) -> Tensor:
    """Per sample; classes last. With smoothing 0 this is cross-entropy."""
    log_probabilities = logits.log_softmax(-1)
    hit = -log_probabilities.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return (1 - smoothing) * hit - smoothing * log_probabilities.mean(-1)


def rank_weights(ranks: Tensor) -> Tensor:
    return torch.log(math.e + ranks)


def table_weights(table: Table, *, rank_loss: bool, within_class: bool = False) -> Tensor:
    """A weight per video: by rank, or 1."""
    if not rank_loss:
        return torch.ones(len(table))
    if np.isnan(table.ranks).any():
        first = str(table.ids[np.isnan(table.ranks)][0])
        raise BadTable(
            f"{int(np.isnan(table.ranks).sum())} videos have no rank, {first!r} for one, and the "
            f"loss is weighted by it. Train with --set rank_loss=false, or make ranks with "
            f"`telltale manifest rank`."
        )
    weights = rank_weights(torch.from_numpy(table.ranks)).float()
    for label in np.unique(table.labels) if within_class else ():
        own = torch.from_numpy(table.labels == label)
        weights[own] /= weights[own].mean()
    return weights
