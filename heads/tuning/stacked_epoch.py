"""The samples of one epoch of many heads: each has its own order, mixing and dropout."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from heads.training.augment import kept_features
from heads.training.config import TrainConfig, epoch_order


class StackedEpoch:
    """Every member's samples of its own epoch, in its own order."""

    def __init__(
        self, members: Sequence[tuple[TrainConfig, int, int]], videos: int, views: int, device: str
    ) -> None:
        """`members` are (settings, seed, epoch)."""
        configs = [config for config, _, _ in members]
        orders = [epoch_order(*member, videos, views) for member in members]
        self.rows = torch.from_numpy(np.stack([order.rows for order in orders])).to(device)
        chosen = torch.from_numpy(np.stack([order.views for order in orders])).to(device)
        self.picks = self.rows * views + chosen
        self.partners: Tensor | None = None
        count = len(orders[0].rows)
        if any(config.mixup for config in configs):
            own = np.arange(count)
            partners = [own if order.partners is None else order.partners for order in orders]
            self.partners = torch.from_numpy(np.stack(partners)).to(device)
        ones = np.ones(count, np.float32)
        shares = [ones if order.shares is None else order.shares for order in orders]
        self.shares = torch.from_numpy(np.stack(shares)).to(device)
        dropout = [config.dropout for config in configs]
        self._dropout = (
            torch.tensor(dropout, device=device)[:, None, None] if any(dropout) else None
        )
        self._seeds = torch.tensor([order.dropout_seed for order in orders], device=device)

    def local(self, part: slice) -> Tensor:
        """Partners' positions inside the batch."""
        assert self.partners is not None
        inside: Tensor = self.partners[:, part] - part.start
        return inside

    def changed(self, x: Tensor, part: slice) -> Tensor:
        """Mixup, (K, B, columns)."""
        if self.partners is not None:
            other = torch.take_along_dim(x, self.local(part)[..., None], 1)
            x = torch.lerp(other, x, self.shares[:, part, None])
        return x

    def keep(self, part: slice, columns: int) -> Tensor | None:
        """Dropout's factors, (K, B, columns)."""
        if self._dropout is None:
            return None
        shape = (part.stop - part.start, columns)
        return kept_features(self._seeds, part.start, shape, self._dropout)
