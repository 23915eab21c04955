"""The fit loop: one process, tensors in memory, no loader.

A model says what its parameters are and how a batch becomes logits, a strategy how a batch becomes
a gradient; everything else (order, rates, mixup, early stopping, the best epoch) is here.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.errors import Diverged
from heads.head import FitReport, OnEpoch
from heads.measuring.metrics import averaged, macro_auc
from heads.training.augment import Mixing, kept_features
from heads.training.config import Epoch, Metric, TrainConfig, batches, epoch_order
from heads.training.model import Batch, Model, Samples
from heads.training.strategy import Lesson, Step, Strategy, begun
from heads.training.threads import one_thread

TRAINING_LOSS = "training loss"
"""In a report's history, beside the validation metric."""


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
    strategy = begun(Lesson(model=model, config=config, samples=samples, seed=seed))
    optimiser = _optimiser(strategy)
    per_epoch = len(batches(config, config.samples(samples.videos, samples.views)))
    rates = config.rates(per_epoch)
    watch, kept, losses = Watch(config.patience), Kept(model.state()), list[float]()
    metric = defined_metric(config.select, validation)
    for epoch in range(config.epochs):
        strategy.begin_epoch(epoch)
        order = strategy.order(epoch_order(config, seed, epoch, samples.videos, samples.views))
        losses.append(_epoch(strategy, order, optimiser, rates[epoch * per_epoch :]))
        with strategy.judged():
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
    return "auc" if len(np.unique(labels)) == len(validation.classes) else "accuracy"


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
    strategy: Strategy,
    order: Epoch,
    optimiser: torch.optim.Optimizer,
    rates: NDArray[np.float64],
) -> float:
    """One pass; the mean loss of its steps."""
    samples, config = strategy.samples, strategy.config
    device = samples.x.device
    total = torch.zeros((), device=device)
    parts = batches(config, len(order.rows))
    flat = samples.x.flatten(0, 1)
    picks = torch.from_numpy(order.rows * samples.views + order.views).to(device)
    told = samples.told.take(torch.from_numpy(order.rows).to(device))
    for place, part in enumerate(parts):
        for group in optimiser.param_groups:
            group["lr"] = rates[place]
        x = flat[picks[part]]
        mixing = Mixing.of(order, part, device)
        keep = None
        if mixing is not None:
            x = mixing.mixed(x)
        if config.dropout:
            seed = torch.tensor(order.dropout_seed, device=device)
            keep = kept_features(seed, part.start, x.shape, config.dropout)
        batch = Batch(x=x, rows=order.rows[part], views=order.views[part], keep=keep)
        step = strategy.batch(Step(batch=batch, told=told.take(part), mixing=mixing))
        optimiser.zero_grad(set_to_none=True)
        total += strategy.gradient(step)
        optimiser.step()
        strategy.after()
    return float(total) / len(parts)


def _optimiser(strategy: Strategy) -> torch.optim.Optimizer:
    config, own = strategy.config, strategy.parameters()
    decayed, plain = strategy.model.parameters()
    decayed = [*decayed, *(p for p in own if p.ndim > 1)]
    plain = [*plain, *(p for p in own if p.ndim <= 1)]
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
