"""What is trained, and on what: the contract of a model that learns in steps, its samples, and one
step's batch of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features_store.table import Table
from heads.measuring.metrics import REAL
from heads.training.losses import table_weights

Stage = Callable[[Tensor], Tensor]


class Model(ABC):
    """What the loop trains."""

    is_small: ClassVar[bool] = True
    """One thread is best; see `threads`."""
    sees_vectors: ClassVar[bool] = True
    """All that it looks at is a batch's `x`, so that a strategy may change it."""

    @abstractmethod
    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        """With weight decay, and without."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All tensors that make the model what it is, live."""

    @abstractmethod
    def training_logits(self, batch: "Batch") -> Tensor:
        """(B, C), with gradients."""

    @abstractmethod
    def view_probabilities(self, samples: "Samples") -> NDArray[np.float32]:
        """(n, V, C), in evaluation mode."""

    def stages(self, batch: "Batch") -> Sequence[Stage]:
        """From a batch's `x` to its logits, layer by layer: standardised vectors, each hidden
        layer, logits. Without hidden layers that can be had one by one: nothing."""
        del batch
        return ()

    def classifier(self) -> tuple[Tensor, Tensor]:
        """Weight (C, d) and bias (C) of the last stage, live, where there are stages."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of videos, a row each."""

    targets: Tensor
    """Classes."""
    weights: Tensor
    domains: Tensor
    """0: a real video; 1 and more: the generators of the videos learnt from, by name."""
    ranks: Tensor
    """How obvious an anomaly is, 0 the most, 1 the least; NaN where it is not known."""

    def take(self, rows: Tensor | slice) -> "Told":
        """Some rows."""
        return Told(
            targets=self.targets[rows], weights=self.weights[rows], domains=self.domains[rows],
            ranks=self.ranks[rows],
        )  # fmt: skip

    def joined(self, other: "Told") -> "Told":
        """Rows of both."""
        return Told(
            targets=torch.cat([self.targets, other.targets]),
            weights=torch.cat([self.weights, other.weights]),
            domains=torch.cat([self.domains, other.domains]),
            ranks=torch.cat([self.ranks, other.ranks]),
        )

    @property
    def fake(self) -> Tensor:
        """Which videos are generated."""
        return self.domains > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Videos to learn from or to judge by."""

    x: Tensor
    """(n, V, columns) on the device."""
    told: Told
    classes: tuple[str, ...]
    ids: NDArray[np.generic]
    """(n)"""
    qualities: int = 1
    """Of how many protocols the views are, those of each side by side, in the same order."""

    @staticmethod
    def of(x: Tensor, table: Table, *, rank_loss: bool, within_class: bool = False) -> "Samples":
        """What is learnt from `x` about a table's videos, on the device of `x`."""
        told = Told(
            targets=torch.from_numpy(table.labels.astype(np.int64)).to(x.device),
            weights=table_weights(table, rank_loss=rank_loss, within_class=within_class).to(
                x.device
            ),
            domains=torch.from_numpy(domains(table)).to(x.device),
            ranks=torch.from_numpy(table.ranks).float().to(x.device),
        )
        return Samples(
            x=x, told=told, classes=table.classes, ids=table.ids, qualities=table.qualities
        )

    @property
    def targets(self) -> Tensor:
        return self.told.targets

    @property
    def weights(self) -> Tensor:
        return self.told.weights

    @property
    def videos(self) -> int:
        return self.x.shape[0]

    @property
    def views(self) -> int:
        return self.x.shape[1]

    @property
    def real(self) -> int | None:
        """The class of real videos, where the scheme has one."""
        return self.classes.index(REAL) if REAL in self.classes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples of one step."""

    x: Tensor
    """(B, columns)"""
    rows: NDArray[np.int64]
    """Their videos and views, for what is not in x."""
    views: NDArray[np.int64]
    keep: Tensor | None = None
    """(B, columns): 0 where dropout takes a feature, else 1 / (1 - its share)."""


def domains(table: Table) -> NDArray[np.int64]:
    """0 for real videos, 1 and more for the sources of the others in order of their names."""
    real = table.labels == (table.classes.index(REAL) if REAL in table.classes else -1)
    names = [str(name) for name in table.sources]
    order = sorted({name for name, is_real in zip(names, real, strict=True) if not is_real})
    number = {name: place + 1 for place, name in enumerate(order)}
    found = [0 if is_real else number[name] for name, is_real in zip(names, real, strict=True)]
    return np.array(found, np.int64)
