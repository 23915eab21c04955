"""Many fusion heads trained as one program: stacked parameters, each with its own settings.

Members share what gives tensors their shape (`stack_key`) and differ in everything else: rates,
batch size, alpha's mode, decay, smoothing, rank weighting, mixup, dropout, number of epochs,
patience, metric, seed and order of samples. There are `size` places, made once. A member that ends
gives its place to the next one of the generator; each ends where it would have ended alone
(`loop.py`), to rounding. Epochs of members end when they end: nobody waits for another's. In a step
nothing loops over members, and the device is waited for when epochs end.

On a CPU this is slower than one head after another, whose optimiser state stays in the cache:
`population_size.py` says 1 there, and `tune` then trains alone.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features_store.table import Table
from heads.errors import BadSetting
from heads.measuring.metrics import macro_aucs
from heads.parts.fusion_gradient import gradients
from heads.parts.fusion_net import (
    NOT_DECAYED,
    SIGMOID,
    BatchStatistics,
    Pass,
    fold,
    logits,
    passed,
)
from heads.parts.training_means import means_of, start_statistics
from heads.training.config import batches
from heads.training.loop import Watch, defined_metric, judge
from heads.training.losses import smoothed_losses, table_weights
from heads.tuning.adamw_moves import compiler_of
from heads.tuning.slot import Finished, Member, OnMemberEpoch, Slot
from heads.tuning.stacked_adamw import StackedAdamW
from heads.tuning.stacked_epoch import Part, StackedEpochs
from heads.zoo.fusion import Fusion, FusionConfig

__all__ = [
    "PLAIN",
    "Finished",
    "Member",
    "Population",
    "stack_key",
]
PLAIN = "plain"
"""The one strategy that members of a population can have."""


def stack_key(config: FusionConfig) -> tuple[object, ...]:
    """Members of one population agree in this."""
    return (
        config.vector, config.depth, config.down_norm, config.hidden, config.views, config.repeat,
        config.official,
    )  # fmt: skip


class Population:
    """Trains members, `size` at a time."""

    def __init__(
        self, train: Table, validation: Table, classes: Sequence[str], size: int, device: str
    ) -> None:
        if size < 1:
            raise BadSetting(f"A population of {size}: give 1 or more.")
        self._tables = train, validation
        self._classes = tuple(classes)
        self._device = device
        self._slots: list[Slot | None] = [None] * size
        self._optimiser = StackedAdamW(NOT_DECAYED, size, compiler_of(device))
        self._best: dict[str, Tensor] = {}

    def run(
        self, members: Iterable[Member], on_epoch: OnMemberEpoch = lambda *_: False
    ) -> Iterator[Finished]:
        """Members as they end. The next one is taken when a place is free, and not before."""
        queue = iter(members)
        first = next(queue, None)
        if first is None:
            return
        self._prepare(first.config)
        self._join(0, first)
        more = True
        while True:
            for place in self._free() if more else ():
                member = next(queue, None)
                if member is None:
                    more = False
                    break
                self._join(place, member)
            if not more:
                self._shrink()
            if not self._places():
                return
            self._stretch()
            yield from self._after_epochs(on_epoch)

    def _free(self) -> list[int]:
        return [place for place, slot in enumerate(self._slots) if slot is None]

    def _places(self) -> list[tuple[int, Slot]]:
        """Where somebody is at work."""
        return [(place, slot) for place, slot in enumerate(self._slots) if slot is not None]

    def _prepare(self, config: FusionConfig) -> None:
        """The data on the device, by the switches that all members share, and the places."""
        size, device = len(self._slots), self._device
        self._key = stack_key(config)
        head = Fusion(replace(config, rank_loss=False), self._classes)
        self._learn = head.samples(self._tables[0], device)
        self._judge = head.samples(self._tables[1], device, judge=True)
        self._judged = self._judge.x.flatten(0, 1)
        self._labels = self._judge.targets.cpu().numpy()
        model = head.new_model(self._tables[0], 0, device)
        self._layout = model.layout
        self._means = means_of(self._learn.x, self._layout)
        self._first = {
            f"down_norm.running_{name}": torch.zeros(self._layout.width, device=device)
            for name in ("mean", "var")
        }
        start_statistics(self._first, self._learn.x, self._layout)
        videos, views = self._learn.videos, self._learn.views
        samples = config.samples(videos, views)
        self._epochs = StackedEpochs(size, samples, videos, views, device)
        self._weights = torch.ones(size, videos, device=device)
        learnt = [name for name, tensor in model.tensors.items() if tensor.requires_grad]
        if config.depth and "alpha" not in learnt:
            learnt.append("alpha")  # by others
        self._optimiser.make(self._with_mode(model.tensors, config), learnt)
        self._best = {name: x.clone() for name, x in self._optimiser.stack.items()}

    def _with_mode(self, tensors: dict[str, Tensor], config: FusionConfig) -> dict[str, Tensor]:
        is_sigmoid = torch.tensor([config.alpha_mode == "sigmoid"], device=self._device)
        return {**tensors, SIGMOID: is_sigmoid}

    def _join(self, place: int, member: Member) -> None:
        config = member.config
        if stack_key(config) != self._key or config.official:
            raise BadSetting("Members of a population agree in their switches; see stack_key.")
        if config.strategy != PLAIN:
            raise BadSetting(
                f"A population learns plainly; a head with strategy={config.strategy} learns alone."
            )
        head = Fusion(config, self._classes)
        self._weights[place] = table_weights(
            self._tables[0], rank_loss=config.rank_loss, within_class=config.rank_within_class
        )
        head.model = head.new_model(self._tables[0], member.seed, self._device)
        for name, tensor in self._first.items():
            if name in head.model.tensors:
                head.model.tensors[name].copy_(tensor)
        parts = batches(config, config.samples(self._learn.videos, self._learn.views))
        self._slots[place] = Slot(
            member=member, head=head, watch=Watch(config.patience),
            metric=defined_metric(config.select, self._judge), parts=parts,
            rates=config.rates(len(parts)),
        )  # fmt: skip
        tensors = self._with_mode(head.model.tensors, config)
        self._optimiser.put(place, tensors)
        for name, tensor in tensors.items():
            self._best[name][place] = tensor.detach()
        self._epochs.begin(place, config, member.seed, 0)

    def _stretch(self) -> None:
        """Steps until an epoch ends."""
        at_work = self._places()
        count, size = min(slot.left for _, slot in at_work), len(self._slots)
        starts, sizes = np.zeros((count, size), np.int64), np.zeros((count, size), np.int64)
        rates, decay = np.zeros((count, size)), np.zeros(size, np.float32)
        smoothing = np.zeros((size, 1), np.float32)
        for place, slot in at_work:
            starts[:, place], sizes[:, place], rates[:, place] = slot.next_steps(count)
            decay[place], smoothing[place] = (
                slot.member.config.weight_decay, slot.member.config.smoothing,
            )  # fmt: skip
            slot.step += count
        sizes = np.where(sizes == 0, sizes.max(1, keepdims=True), sizes)  # where nobody is
        told = [torch.from_numpy(each).to(self._device) for each in (rates, decay, smoothing)]
        total = torch.zeros(size, device=self._device)
        for step, part in enumerate(Part.of(starts, sizes, self._device)):
            batch = self._passed(part)
            batch.logits.requires_grad = True
            each = self._losses(batch.logits, part, told[2])
            each.sum().backward()  # type: ignore[no-untyped-call]
            wanted = batch.logits.grad
            assert wanted is not None
            found = gradients(self._optimiser.stack, self._layout, batch, wanted)
            self._optimiser.step(found, told[0][step], told[1])
            total += each.detach()
        for (_, slot), loss in zip(
            at_work, total[[place for place, _ in at_work]].tolist(), strict=True
        ):
            slot.loss += loss

    @torch.no_grad()
    def _passed(self, part: Part) -> Pass:
        """A batch each through the heads."""
        epochs, stack = self._epochs, self._optimiser.stack
        flat = self._learn.x.flatten(0, 1)
        x = epochs.changed(flat[epochs.picks.gather(1, part.inside)], part)
        keep = epochs.keep(part, x.shape[-1])
        statistics = BatchStatistics(stack, part.present)
        return passed(stack, x, self._layout, statistics, keep=keep)

    def _losses(self, found: Tensor, part: Part, smoothing: Tensor) -> Tensor:
        """(K): of one batch each."""
        epochs = self._epochs
        rows = epochs.rows.gather(1, part.inside)
        targets, weights = self._learn.targets[rows], self._weights.gather(1, rows)
        losses = smoothed_losses(found, targets, smoothing) * weights
        if epochs.mixes:
            other, share = epochs.partners(part), epochs.shares(part)
            mixed = smoothed_losses(found, targets.gather(1, other), smoothing)
            losses = share * losses + (1 - share) * mixed * weights.gather(1, other)
        if part.present is None:
            return losses.mean(-1)
        each: Tensor = (losses * part.present).sum(-1) / part.present.sum(-1)
        return each

    @torch.no_grad()
    def _after_epochs(self, on_epoch: OnMemberEpoch) -> Iterator[Finished]:
        """Judge those whose epoch has ended; they go on, or make room."""
        judged = [(place, slot) for place, slot in self._places() if not slot.left]
        places = [place for place, _ in judged]
        probabilities = self._probabilities(places)
        aucs = macro_aucs(probabilities.mean(2, dtype=np.float32), self._labels)
        improved, ended = [], []
        for (place, slot), own, auc in zip(judged, probabilities, aucs, strict=True):
            value = float(auc) if slot.metric == "auc" else judge(slot.metric, own, self._judge)
            diverged = math.isnan(value)
            if not diverged and slot.watch.improves(value):
                improved.append(place)
            slot.end_epoch()
            told = diverged or on_epoch(slot.member, slot.epoch - 1, value)
            if slot.watch.has_seen_enough or told or slot.epoch == slot.member.config.epochs:
                ended.append((place, slot))
            else:
                self._epochs.begin(place, slot.member.config, slot.member.seed, slot.epoch)
        self._optimiser.copy_rows(self._best, improved)
        for place, slot in ended:
            self._slots[place] = None
            self._epochs.end(place)
            assert slot.head.model is not None
            for name, tensor in slot.head.model.tensors.items():
                tensor.copy_(self._best[name][place])
            slot.head.means = self._means
        for _, slot in ended:
            yield slot.finished()

    def _shrink(self) -> None:
        """Nobody will come: half empty, the places are given up."""
        staying = [place for place, _ in self._places()]
        if not staying or 2 * len(staying) > len(self._slots):
            return
        index = torch.tensor(staying, device=self._device)
        self._optimiser.only(index)
        self._epochs.only(staying)
        self._weights = self._weights[index]
        self._best = {name: tensor[index] for name, tensor in self._best.items()}
        self._slots = [self._slots[place] for place in staying]

    def _probabilities(self, places: Sequence[int]) -> NDArray[np.float32]:
        """(those places, n, V, C) on the validation videos: the device is waited for here."""
        index = torch.tensor(places, device=self._device)
        stack = {name: tensor[index] for name, tensor in self._optimiser.stack.items()}
        if self._layout.down_norm == "ln":
            found = logits(stack, self._judged.expand(len(places), -1, -1), self._layout)
        else:
            found = fold(stack, self._layout).logits(self._judged)
        shape = (len(places), self._judge.videos, self._judge.views, -1)
        probabilities: NDArray[np.float32] = found.softmax(-1).reshape(shape).cpu().numpy()
        return probabilities
