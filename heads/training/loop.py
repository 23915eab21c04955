"""The fit loop: one process, tensors in memory, no loader.

A model says what its parameters are and how a batch becomes logits; everything else (order,
rates, weights, mixing, early stopping, the best epoch) is here.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features_store.table import Table
from heads.errors import Diverged
from heads.head import FitReport, OnEpoch
from heads.measuring.metrics import averaged, macro_auc
from heads.training.augment import Mixing, kept_features
from heads.training.config import Epoch, Metric, TrainConfig, batches, epoch_order
from heads.training.losses import smoothed_losses, table_weights
from heads.training.threads import one_thread

TRAINING_LOSS = "training loss"
"""In a report's history, beside the validation metric."""


class Model(ABC):
    """What the loop trains."""

    is_small: ClassVar[bool] = True
    """One thread is best; see `threads`."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Videos to learn from or to judge by."""

    x: Tensor
    """(n, V, columns) on the device."""
    targets: Tensor
    """(n)"""
    weights: Tensor
    """(n)"""
    classes: int

    @staticmethod
    def of(x: Tensor, table: Table, *, rank_loss: bool, within_class: bool = False) -> "Samples":
        """What is learnt from `x` about a table's videos, on the device of `x`."""
        return Samples(
            x=x,
            targets=torch.from_numpy(table.labels.astype(np.int64)).to(x.device),
            weights=table_weights(table, rank_loss=rank_loss, within_class=within_class).to(
                x.device
            ),
            classes=len(table.classes),
        )

    @property
    def videos(self) -> int:
        return self.x.shape[0]

    @property
    def views(self) -> int:
        return self.x.shape[1]


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


def train_model(
    model: Model,
    config: TrainConfig,
    samples: Samples,
    validation: Samples,
    *,
    seed: int,
    on_epoch: OnEpoch | None = None,
) -> FitReport:
    """Train, and leave the model as it was after its best epoch."""
    guard = one_thread(samples.x.device) if model.is_small else nullcontext()
    with guard:
        return _train(model, config, samples, validation, seed, on_epoch)


def _train(
    model: Model,
    config: TrainConfig,
    samples: Samples,
    validation: Samples,
    seed: int,
    on_epoch: OnEpoch | None,
) -> FitReport:
    start = time.perf_counter()
    optimiser = _optimiser(model, config)
    per_epoch = len(batches(config, config.samples(samples.videos, samples.views)))
    rates = config.rates(per_epoch)
    watch, kept, losses = Watch(config.patience), Kept(model.state()), list[float]()
    metric = defined_metric(config.select, validation)
    for epoch in range(config.epochs):
        order = epoch_order(config, seed, epoch, samples.videos, samples.views)
        losses.append(_epoch(model, config, samples, order, optimiser, rates[epoch * per_epoch :]))
        value = judge(metric, model.view_probabilities(validation), validation)
        if watch.improves(value):
            kept.keep()
        if watch.has_seen_enough or (on_epoch is not None and on_epoch(epoch, value)):
            break
    kept.restore()
    return FitReport(
        metric=f"validation {metric}", best=watch.best, best_epoch=watch.best_epoch,
        seconds=time.perf_counter() - start,
        history={metric: tuple(watch.history), TRAINING_LOSS: tuple(losses)},
    )  # fmt: skip


class Watch:
    """The validation metric's history: which epoch was best, and whether to go on."""

    def __init__(self, patience: int) -> None:
        self.history: list[float] = []
        self.best = -math.inf
        self.best_epoch = -1
        self._patience = patience

    def improves(self, metric: float) -> bool:
        """Take note of an epoch; is it the best so far?"""
        if math.isnan(metric):
            raise Diverged(
                "Training broke down: the validation metric is not a number. Try a lower lr."
            )
        self.history.append(metric)
        if metric <= self.best:
            return False
        self.best, self.best_epoch = metric, len(self.history) - 1
        return True

    @property
    def has_seen_enough(self) -> bool:
        return 0 < self._patience < len(self.history) - self.best_epoch


class Kept:
    """A copy of a model's state at its best epoch."""

    def __init__(self, live: dict[str, Tensor]) -> None:
        self._live = live
        self._copy: dict[str, Tensor] = {}

    def keep(self) -> None:
        for name, tensor in self._live.items():
            if name in self._copy:
                self._copy[name].copy_(tensor.detach())
            else:
                self._copy[name] = tensor.detach().clone()

    def restore(self) -> None:
        with torch.no_grad():
            for name, tensor in self._live.items():
                tensor.copy_(self._copy[name])


def defined_metric(wanted: Metric, validation: Samples) -> str:
    """What can be measured: an AUC needs videos of every class; accuracy stands in."""
    labels = validation.targets.cpu().numpy()
    if wanted != "auc":
        return "log-likelihood" if wanted == "loss" else wanted
    return "auc" if len(np.unique(labels)) == validation.classes else "accuracy"


def judge(metric: str, probabilities: NDArray[np.float32], validation: Samples) -> float:
    """A validation metric, larger is better; NaN where the probabilities are."""
    labels = validation.targets.cpu().numpy()
    means = averaged(probabilities)
    if np.isnan(means).any():
        return math.nan
    if metric == "accuracy":
        return float((means.argmax(1) == labels).mean())
    if metric == "auc":
        return macro_auc(means, labels)
    hits = means[np.arange(len(labels)), labels]
    return float(np.log(np.maximum(hits, 1e-12)).mean())


def _epoch(
    model: Model,
    config: TrainConfig,
    samples: Samples,
    order: Epoch,
    optimiser: torch.optim.Optimizer,
    rates: NDArray[np.float64],
) -> float:
    """One pass; the mean loss of its steps."""
    device = samples.x.device
    total = torch.zeros((), device=device)
    parts = batches(config, len(order.rows))
    flat = samples.x.flatten(0, 1)
    picks = torch.from_numpy(order.rows * samples.views + order.views).to(device)
    rows = torch.from_numpy(order.rows).to(device)
    targets, weights = samples.targets[rows], samples.weights[rows]
    for step, part in enumerate(parts):
        for group in optimiser.param_groups:
            group["lr"] = rates[step]
        x = flat[picks[part]]
        mixing = Mixing.of(order, part, device)
        if mixing is not None:
            x = mixing.mixed(x)
        keep = None
        if config.dropout:
            seed = torch.tensor(order.dropout_seed, device=device)
            keep = kept_features(seed, part.start, x.shape, config.dropout)
        batch = Batch(x=x, rows=order.rows[part], views=order.views[part], keep=keep)
        logits = model.training_logits(batch)
        losses = smoothed_losses(logits, targets[part], config.smoothing) * weights[part]
        if mixing is not None:
            other = smoothed_losses(logits, targets[part][mixing.partners], config.smoothing)
            other = other * weights[part][mixing.partners]
            losses = mixing.share * losses + (1 - mixing.share) * other
        optimiser.zero_grad(set_to_none=True)
        loss = losses.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.detach()
    return float(total) / len(parts)


def _optimiser(model: Model, config: TrainConfig) -> torch.optim.Optimizer:
    decayed, plain = model.parameters()
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def parameters_to_train(state: dict[str, Tensor], frozen: Sequence[str]) -> None:
    """Ask for gradients of everything but buffers and what is frozen."""
    for name, tensor in state.items():
        if "running" not in name and name not in frozen:
            tensor.requires_grad = True
