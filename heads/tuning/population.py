"""Many fusion heads trained as one program: stacked parameters, each with its own settings.

Members share what gives tensors their shape (`stack_key`) and differ in everything else: rates,
decay, smoothing, rank weighting, mixup, dropout, number of epochs, patience, metric, seed and
order of samples. A member that ends gives its slot to the next; each ends where it would have
ended alone (`loop.py`), to rounding. In a step nothing loops over members, and the device is
waited for once an epoch.

On a CPU this is slower than one head after another, whose optimiser state stays in the cache:
`population_size` says 1 there, and `tune` then trains alone.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features_store.table import Table
from heads.errors import BadSetting
from heads.head import FitReport
from heads.measuring.metrics import macro_aucs
from heads.parts.fusion_net import NOT_DECAYED, BatchStatistics, fold, logits
from heads.parts.training_means import means_of, start_statistics
from heads.training.config import batches
from heads.training.loop import TRAINING_LOSS, Watch, defined_metric, judge
from heads.training.losses import smoothed_losses, table_weights
from heads.tuning.stacked_adamw import StackedAdamW
from heads.tuning.stacked_epoch import StackedEpoch
from heads.zoo.fusion import Fusion, FusionConfig

LARGEST = 256
PLAIN = "plain"
"""The one strategy that members of a population can have."""
_SHARE_OF_FREE_MEMORY = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A head to be trained."""

    number: int
    """The caller's."""
    config: FusionConfig
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A member at its end; a `best_epoch` of -1 says that it broke down before any was good."""

    member: Member
    head: Fusion
    report: FitReport


OnMemberEpoch = Callable[[Member, int, float], bool]
"""(member, epoch, validation metric) → stop it here?"""


def stack_key(config: FusionConfig) -> tuple[object, ...]:
    """Members of one population agree in this."""
    return (
        config.vector, config.depth, config.alpha_mode, config.down_norm, config.hidden,
        config.batch, config.views, config.repeat, config.official,
    )  # fmt: skip


def population_size(device: str, columns: int, hidden: int, batch: int) -> int:
    """As many as fit in 60% of the device's free memory; 1 on a CPU."""
    if torch.device(device).type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    member = 4 * (6 * columns * hidden + 8 * batch * columns)  # parameter, gradient, moments, best
    return int(max(1, min(LARGEST, free * _SHARE_OF_FREE_MEMORY // member)))


@dataclass(slots=True, kw_only=True)
class _Slot:
    """A member at work."""

    member: Member
    head: Fusion
    watch: Watch
    metric: str
    rates: NDArray[np.float64]
    weights: Tensor
    """(n) of the videos learnt from."""
    losses: list[float] = field(default_factory=list)
    epoch: int = 0
    started: float = field(default_factory=time.perf_counter)


class Population:
    """Trains members, `size` at a time."""

    def __init__(
        self, train: Table, validation: Table, classes: Sequence[str], size: int, device: str
    ) -> None:
        if size < 1:
            raise BadSetting(f"A population of {size}: give 1 or more.")
        self._tables = train, validation
        self._classes = tuple(classes)
        self._size = size
        self._device = device
        self._slots: list[_Slot] = []
        self._optimiser = StackedAdamW(NOT_DECAYED)
        self._best: dict[str, Tensor] = {}

    def run(
        self, members: Iterable[Member], on_epoch: OnMemberEpoch = lambda *_: False
    ) -> Iterator[Finished]:
        """Members as they end. More are taken when slots are free."""
        queue = iter(members)
        waiting = next(queue, None)
        if waiting is not None:
            self._prepare(waiting.config)
        while waiting is not None or self._slots:
            while waiting is not None and len(self._slots) < self._size:
                self._join(waiting)
                waiting = next(queue, None)
            self._one_epoch()
            yield from self._after_epoch(on_epoch)

    def _prepare(self, config: FusionConfig) -> None:
        """The data on the device, by the switches that all members share."""
        self._key = stack_key(config)
        head = Fusion(replace(config, rank_loss=False), self._classes)
        self._learn = head.samples(self._tables[0], self._device)
        self._judge = head.samples(self._tables[1], self._device, judge=True)
        self._judged = self._judge.x.flatten(0, 1)
        self._labels = self._judge.targets.cpu().numpy()
        self._layout = head.new_model(self._tables[0], 0).layout
        self._means = means_of(self._learn.x, self._layout)
        self._first = {
            f"down_norm.running_{name}": torch.zeros(self._layout.width, device=self._device)
            for name in ("mean", "var")
        }
        start_statistics(self._first, self._learn.x, self._layout)
        self._parts = batches(config, config.samples(self._learn.videos, self._learn.views))

    def _join(self, member: Member) -> None:
        config = member.config
        if stack_key(config) != self._key or config.official:
            raise BadSetting("Members of a population agree in their switches; see stack_key.")
        if config.strategy != PLAIN:
            raise BadSetting(
                f"A population learns plainly; a head with strategy={config.strategy} learns alone."
            )
        head = Fusion(config, self._classes)
        weights = table_weights(
            self._tables[0], rank_loss=config.rank_loss, within_class=config.rank_within_class
        )
        head.model = head.new_model(self._tables[0], member.seed, self._device)
        for name, tensor in self._first.items():
            if name in head.model.tensors:
                head.model.tensors[name].copy_(tensor)
        self._slots.append(
            _Slot(
                member=member,
                head=head,
                watch=Watch(config.patience),
                metric=defined_metric(config.select, self._judge),
                rates=config.rates(len(self._parts)),
                weights=weights,
            )
        )
        self._optimiser.join(head.model.tensors)
        for name, tensor in head.model.tensors.items():
            row = tensor.detach()[None].clone()
            self._best[name] = torch.cat([self._best[name], row]) if name in self._best else row

    def _one_epoch(self) -> None:
        configs = [slot.member.config for slot in self._slots]
        members = [(slot.member.config, slot.member.seed, slot.epoch) for slot in self._slots]
        epoch = StackedEpoch(members, self._learn.videos, self._learn.views, self._device)
        weighed = torch.stack([slot.weights for slot in self._slots]).to(self._device)
        total = torch.zeros(len(self._slots), device=self._device)
        decay = self._column([config.weight_decay for config in configs])[:, 0]
        smoothing = self._column([config.smoothing for config in configs])
        rates = np.stack(
            [
                s.rates[s.epoch * len(self._parts) : (s.epoch + 1) * len(self._parts)]
                for s in self._slots
            ]
        )
        rates_on_device = torch.from_numpy(rates).to(self._device)
        flat = self._learn.x.flatten(0, 1)
        statistics = BatchStatistics(self._optimiser.stack)
        for step, part in enumerate(self._parts):
            x = epoch.changed(flat[epoch.picks[:, part]], part)
            rows = epoch.rows[:, part]
            targets = self._learn.targets[rows]
            weights = weighed.gather(1, rows)
            keep = epoch.keep(part, x.shape[-1])
            found = logits(self._optimiser.stack, x, self._layout, statistics, keep=keep)
            losses = smoothed_losses(found, targets, smoothing) * weights
            if epoch.partners is not None:
                other = epoch.local(part)
                mixed = smoothed_losses(found, targets.gather(1, other), smoothing)
                mixed = mixed * weights.gather(1, other)
                share = epoch.shares[:, part]
                losses = share * losses + (1 - share) * mixed
            each = losses.mean(-1)
            each.sum().backward()  # type: ignore[no-untyped-call]
            self._optimiser.step(rates_on_device[:, step], decay)
            total += each.detach()
        for slot, loss in zip(self._slots, (total / len(self._parts)).tolist(), strict=True):
            slot.losses.append(loss)

    @torch.no_grad()
    def _after_epoch(self, on_epoch: OnMemberEpoch) -> Iterator[Finished]:
        probabilities = self._probabilities()
        aucs = macro_aucs(probabilities.mean(2, dtype=np.float32), self._labels)
        improved, ended = [], []
        for place, slot in enumerate(self._slots):
            value = float(aucs[place])
            if slot.metric != "auc":
                value = judge(slot.metric, probabilities[place], self._judge)
            diverged = math.isnan(value)
            improved.append(not diverged and slot.watch.improves(value))
            slot.epoch += 1
            told = diverged or on_epoch(slot.member, slot.epoch - 1, value)
            if slot.watch.has_seen_enough or told or slot.epoch == slot.member.config.epochs:
                ended.append(place)
        self._optimiser.copy_rows(self._best, torch.tensor(improved, device=self._device))
        finished = [self._finish(place) for place in ended]
        if ended:
            staying = [place for place in range(len(self._slots)) if place not in ended]
            self._slots = [self._slots[place] for place in staying]
            index = torch.tensor(staying, dtype=torch.int64, device=self._device)
            self._optimiser.only(index)
            self._best = {name: tensor[index] for name, tensor in self._best.items()}
        yield from finished

    def _finish(self, place: int) -> Finished:
        slot = self._slots[place]
        assert slot.head.model is not None
        for name, tensor in slot.head.model.tensors.items():
            tensor.copy_(self._best[name][place])
        slot.head.means = self._means
        report = FitReport(
            metric=f"validation {slot.metric}", best=slot.watch.best,
            best_epoch=slot.watch.best_epoch, seconds=time.perf_counter() - slot.started,
            history={slot.metric: tuple(slot.watch.history), TRAINING_LOSS: tuple(slot.losses)},
        )  # fmt: skip
        return Finished(member=slot.member, head=slot.head, report=report)

    def _probabilities(self) -> NDArray[np.float32]:
        """(K, n, V, C) on the validation videos: the one time in an epoch the device is awaited."""
        if self._layout.down_norm == "ln":
            judged = self._judged.expand(len(self._slots), -1, -1)
            found = logits(self._optimiser.stack, judged, self._layout)
        else:
            found = fold(self._optimiser.stack, self._layout).logits(self._judged)
        shape = (len(self._slots), self._judge.videos, self._judge.views, -1)
        probabilities: NDArray[np.float32] = found.softmax(-1).reshape(shape).cpu().numpy()
        return probabilities

    def _column(self, values: Sequence[float]) -> Tensor:
        """(K, 1)"""
        return torch.tensor(values, dtype=torch.float32, device=self._device)[:, None]
