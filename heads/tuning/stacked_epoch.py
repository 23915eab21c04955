"""The samples of many heads, each in an epoch of its own: its order, batches, mixing and dropout.

Batches of different sizes lie side by side: shorter ones are filled up with samples that do not
count (`Part.present`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.training.augment import kept_features
from heads.training.config import TrainConfig, epoch_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One step's batches."""

    start: Tensor
    """(K): where each begins in its member's epoch."""
    inside: Tensor
    """(K, B): their positions in it."""
    present: Tensor | None
    """(K, B): 0 for samples that fill up; None where there are none."""

    @staticmethod
    def of(starts: NDArray[np.int64], sizes: NDArray[np.int64], device: str) -> "list[Part]":
        """(steps, K) of both: what is done until somebody's epoch ends, sent to the device once."""
        starts_sk = torch.from_numpy(starts).to(device)
        sizes_sk = torch.from_numpy(sizes).to(device)
        own = torch.arange(int(sizes.max()), device=device)
        last_sk = starts_sk + sizes_sk - 1
        inside_skb = torch.minimum(starts_sk[..., None] + own, last_sk[..., None])
        present_skb = (own < sizes_sk[..., None]).float()
        return [
            Part(
                start=starts_sk[step], inside=inside_skb[step, :, :width],
                present=None if least == width else present_skb[step, :, :width],
            )
            for step, (width, least) in enumerate(zip(sizes.max(1), sizes.min(1), strict=True))
        ]  # fmt: skip


class StackedEpochs:
    """Every place's samples of its member's present epoch."""

    def __init__(self, size: int, samples: int, videos: int, views: int, device: str) -> None:
        self._of = videos, views
        self.rows = torch.zeros(size, samples, dtype=torch.int64, device=device)
        self.picks = torch.zeros_like(self.rows)
        self._partners = torch.zeros_like(self.rows)
        self._shares = torch.ones(size, samples, device=device)
        self._seeds = torch.zeros(size, dtype=torch.int64, device=device)
        self._dropout = torch.zeros(size, 1, 1, device=device)
        self._mixes = [False] * size
        self._drops = [False] * size

    def begin(self, place: int, config: TrainConfig, seed: int, epoch: int) -> None:
        """A place's member begins an epoch."""
        videos, views = self._of
        order = epoch_order(config, seed, epoch, videos, views)
        self.rows[place] = torch.from_numpy(order.rows)
        self.picks[place] = torch.from_numpy(order.rows * views + order.views)
        own = np.arange(len(order.rows))
        self._partners[place] = torch.from_numpy(own if order.partners is None else order.partners)
        if order.shares is None:
            self._shares[place] = 1
        else:
            self._shares[place] = torch.from_numpy(order.shares)
        self._seeds[place] = order.dropout_seed
        self._dropout[place] = config.dropout
        self._mixes[place], self._drops[place] = bool(config.mixup), bool(config.dropout)

    def end(self, place: int) -> None:
        """Nobody is at work there."""
        self._mixes[place] = self._drops[place] = False

    def only(self, places: Sequence[int]) -> None:
        """Keep these places, in this order."""
        index = torch.tensor(places, device=self.rows.device)
        for name in ("rows", "picks", "_partners", "_shares", "_seeds", "_dropout"):
            setattr(self, name, getattr(self, name)[index])
        self._mixes = [self._mixes[place] for place in places]
        self._drops = [self._drops[place] for place in places]

    @property
    def mixes(self) -> bool:
        """Whether anybody mixes samples."""
        return any(self._mixes)

    def partners(self, part: Part) -> Tensor:
        """(K, B): positions inside the batch."""
        inside = self._partners.gather(1, part.inside) - part.start[:, None]
        return inside.clamp(0, part.inside.shape[1] - 1)

    def shares(self, part: Part) -> Tensor:
        """(K, B): how much of itself each sample keeps."""
        return self._shares.gather(1, part.inside)

    def changed(self, x: Tensor, part: Part) -> Tensor:
        """Mixup, (K, B, columns)."""
        if not self.mixes:
            return x
        other = torch.take_along_dim(x, self.partners(part)[..., None], 1)
        return torch.lerp(other, x, self.shares(part)[..., None])

    def keep(self, part: Part, columns: int) -> Tensor | None:
        """Dropout's factors, (K, B, columns)."""
        if not any(self._drops):
            return None
        shape = (part.inside.shape[1], columns)
        return kept_features(self._seeds, part.start, shape, self._dropout)
