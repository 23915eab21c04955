"""The loop of fine-tuning: the same for every network, however much of it learns.

What a step does follows from (seed, epoch, step) alone, so that a run that was killed goes on as
if nothing had happened, and so that several processes take the steps that one would take.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from heads.errors import BadTable
from heads.finetuning.chance import Chance, drop_path_factors, dropout_factors
from heads.finetuning.checkpoints import Checkpoint
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.data import Pick, Source
from heads.finetuning.mixing import drawn_mix
from heads.finetuning.net import FinetuneNet
from heads.finetuning.optimisers import Optimisers
from heads.finetuning.readout import FusionReadout
from heads.finetuning.run import Run
from heads.finetuning.sharding import share_out
from heads.finetuning.shares import fewest_samples, most_samples, own_shares, step_slices
from heads.finetuning.step_memory import explained, fitted
from heads.finetuning.versions import Versions
from heads.head import FitReport, Probabilities
from heads.training.config import Epoch, epoch_order
from heads.training.loop import defined_metric, judge
from heads.training.losses import smoothed_losses

CHECKPOINT = "checkpoint.safetensors"
_BETWEEN_SAVES = 20
"""Times as long as the last checkpoint took, training goes on before the next inside an epoch."""


class Finetuner:
    """Trains a network; goes on from the folder's checkpoint where there is one."""

    def __init__(self, net: FinetuneNet, run: Run) -> None:
        config, device = self._as_begun(run), run.processes.device
        self.net = share_out(net, run.processes) if config.shard else net.to(device)
        config, self.memory = fitted(self.net, replace(run, config=config))
        """What a step takes, where that was to be chosen by."""
        self.run = run = replace(run, config=config)
        self._cutting = replace(config, accumulate=1) if net.joins else config
        """How batches are cut here; the network itself cuts those that its head reads whole."""
        self.metric = defined_metric(config.select, run.validation.samples)
        """What decides."""
        self.step = 0
        self.losses: list[float] = []
        self.history: list[float] = []
        """The validation metric before training, and after every epoch."""
        names = {name: p for name, p in net.named_parameters() if p.requires_grad}
        alone = config.shard or run.processes.count == 1
        self._parallel = None if alone else self._in_parallel()
        self.versions = Versions(self.net, config.ema)
        samples = run.train.samples
        count = config.samples(samples.videos, samples.views)
        shares = self._cutting.parts * run.processes.count
        self._parts = step_slices(count, config.batch, shares)
        self._at_once = most_samples(count, config, config.parts * run.processes.count)
        self._steps = config.epochs * len(self._parts)
        self._saved_at, self._saving = time.monotonic(), 0.0
        self.optimisers = Optimisers(
            names, net.network, config, len(self._parts), run.processes.device
        )
        self._resume()

    def fit(self, *, stop_after: int | None = None) -> FitReport:
        """Train to the end, or up to a step, and leave the best weights in the network."""
        with explained(self._too_much):
            return self._fit(stop_after)

    def _fit(self, stop_after: int | None) -> FitReport:
        start = time.perf_counter()
        if not self.history:
            self._judge()
        end = min(self._steps, stop_after or self._steps)
        while self.step < end and not self._is_patient_no_more():
            epoch, position = divmod(self.step, len(self._parts))
            last = min(len(self._parts), position + end - self.step)
            self._epoch(epoch, range(position, last))
            if self.step % len(self._parts) == 0:
                self._judge()
                self._save()
        best = int(np.argmax(self.history))
        if stop_after is None:
            self.versions.restore_best()
        return FitReport(
            metric=f"validation {self.metric}", best=self.history[best],
            best_epoch=best - 1, seconds=time.perf_counter() - start,
            history={self.metric: tuple(self.history), "loss": tuple(self.losses)},
        )  # fmt: skip

    @torch.no_grad()
    def probabilities(self, source: Source) -> Probabilities:
        """(n, views, classes), in evaluation mode; every process gets all."""
        processes, samples = self.run.processes, source.samples
        size = max(1, self.run.config.batch // samples.views)
        # As many in every process, since shards are put together by all: first ones come again.
        places = np.arange(-(-samples.videos // processes.count)) * processes.count + processes.rank
        parts = [places[start : start + size] for start in range(0, len(places), size)]
        picks = [
            Pick(
                rows=np.repeat(part % samples.videos, samples.views),
                views=np.tile(np.arange(samples.views), len(part)),
            )
            for part in parts
        ]
        count = len(places) * processes.count
        found = torch.zeros(count, samples.views, len(source.table.classes))
        self.net.eval()
        for part, pick, inputs in zip(parts, picks, source.stream(picks), strict=True):
            judged = self._judged(source, pick, inputs)
            found[part] = judged.reshape(len(part), samples.views, -1)
        whole: Probabilities = processes.total(found)[: samples.videos].numpy()
        whole[~source.present.numpy()] = np.nan
        return whole

    def _judged(self, source: Source, pick: Pick, inputs: Tensor) -> Tensor:
        """(samples, classes); no more of them at once than in training, where they fit."""
        both = (inputs, source.samples.x[pick.rows, pick.views])
        pieces = zip(*(torch.split(each, self._at_once) for each in both), strict=True)
        logits = (self.net(*self._on_device(*piece), raw=source.raw) for piece in pieces)
        return torch.cat([each.float().softmax(-1).cpu() for each in logits])

    def _epoch(self, epoch: int, steps: range) -> None:
        config, source, processes = self._cutting, self.run.train, self.run.processes
        samples = source.samples
        order = epoch_order(config, self.run.seed, epoch, samples.videos, samples.views)
        shares = [
            share for step in steps for share in own_shares(self._parts[step], config, processes)
        ]
        picks = [Pick(rows=order.rows[share], views=order.views[share]) for share in shares]
        inputs = source.stream(picks)
        self.net.train()
        try:
            for number in range(len(steps)):
                now = slice(number * config.parts, (number + 1) * config.parts)
                self._update(order, self._parts[steps[number]], shares[now], inputs)
                due = self.step % config.save_every == 0 and self.step % len(self._parts) != 0
                if due and self._saving_pays():
                    self._save()
        finally:
            inputs.close()

    def _update(
        self, order: Epoch, part: slice, shares: Sequence[NDArray[np.int64]],
        inputs: Iterator[Tensor],
    ) -> None:  # fmt: skip
        """One step of the optimiser; `shares` are this process's samples of the batch."""
        size = part.stop - part.start
        if self.net.joins:
            fewest = fewest_samples(part, self._cutting, self.run.processes)
            self.net.parts = min(self.run.config.parts, fewest)
        chance = self._chance(size)
        total = torch.zeros(1)
        for number, share in enumerate(shares):
            pick = Pick(rows=order.rows[share], views=order.views[share])
            last = number == len(shares) - 1
            drawn = chance.share(share - part.start, self.run.processes.device)
            with self._parallel.no_sync() if self._parallel and not last else nullcontext():
                loss = self._loss(pick, next(inputs), drawn) / size
                whole = loss * self.run.processes.count  # processes' gradients are averaged
                self.optimisers.scaler.scale(whole).backward()
            total += loss.detach().cpu()
        self.optimisers.step(self.step)
        self.versions.follow()
        self.losses.append(float(self.run.processes.total(total)))
        if not math.isfinite(self.losses[-1]):
            raise BadTable(f"Step {self.step}: the loss is {self.losses[-1]}. Try a lower lr.")
        self.step += 1

    def _chance(self, size: int) -> Chance:
        """Of all samples of this step's batch."""
        config, seed = self.run.config, (self.run.seed, self.step)
        paths, columns = self.net.network.paths, self.net.head.width
        keep = drop_path_factors(config.drop_path, paths, size, seed) if config.drop_path else None
        drop = dropout_factors(config.dropout, size, columns, seed) if config.dropout else None
        return Chance(keep=keep, drop=drop, mix=drawn_mix(config.mixup, config.cutmix, size, seed))

    def _loss(self, pick: Pick, inputs: Tensor, chance: Chance) -> Tensor:
        """The sum over the samples."""
        source, device, raw = self.run.train, self.run.processes.device, self.run.train.raw
        model, samples = self._parallel or self.net, source.samples
        smoothing = self.run.config.smoothing
        inputs, beside = self._on_device(inputs, samples.x[pick.rows, pick.views])
        if chance.mix is not None:
            inputs, raw = chance.mix.mixed(self.net.first_input(inputs)), False
        logits = model(inputs, beside, chance, raw=raw)
        targets = samples.targets[pick.rows].to(device)
        weights = samples.weights[pick.rows] * source.present[pick.rows, pick.views]
        losses = smoothed_losses(logits, targets, smoothing) * weights.to(device)
        if chance.mix is not None:
            others, share = chance.mix.partners, chance.mix.share_of(inputs)
            other = smoothed_losses(logits, targets[others], smoothing)
            losses = share * losses + (1 - share) * other * weights[others].to(device)
        return losses.sum()

    def _on_device(self, inputs: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        device = self.run.processes.device
        return inputs.to(device), beside.to(device)

    def _judge(self) -> None:
        """Note the validation metric, and keep the weights if they are the best."""
        with self.versions.averaged():
            probabilities = self.probabilities(self.run.validation)
            metric = judge(self.metric, probabilities, self.run.validation.samples)
            if math.isnan(metric):
                raise BadTable("The validation metric is not a number. Try a lower lr.")
            if metric > max(self.history, default=-math.inf):
                self.versions.keep()
        self.history.append(metric)

    def _is_patient_no_more(self) -> bool:
        patience = self.run.config.patience
        return 0 < patience <= len(self.history) - 1 - int(np.argmax(self.history))

    def _in_parallel(self) -> DistributedDataParallel:
        device = torch.device(self.run.processes.device)
        ids = [device] if device.type == "cuda" else None
        # A linear readout may leave one of the network's vectors unread.
        unread = not isinstance(self.net.head, FusionReadout)
        return DistributedDataParallel(self.net, device_ids=ids, find_unused_parameters=unread)

    def _saving_pays(self) -> bool:
        """A twentieth of the time goes into checkpoints at most; the first process decides."""
        spent = time.monotonic() - self._saved_at
        pays = self.run.processes.first and spent >= _BETWEEN_SAVES * self._saving
        return float(self.run.processes.total(torch.tensor([float(pays)]))) > 0

    def _save(self) -> None:
        if self.run.folder is None:
            return
        start = time.monotonic()
        found = Checkpoint(
            step=self.step, tensors={**self.versions.state(), **self.optimisers.state()},
            history=self.history, losses=self.losses, parts=self.run.config.parts,
        )  # fmt: skip
        path, writes = self.run.folder / CHECKPOINT, self.run.processes.first
        found.save(path, replace(self.run, config=self._cutting).describe(), writes=writes)
        self._saved_at = time.monotonic()
        self._saving = self._saved_at - start

    def _too_much(self) -> str:
        """What to say when a step does not fit after all."""
        config, saved = self.run.config, _checkpoint(self.run)
        less = []
        if self.net.once is None and not self.net.twice:
            less.append("--set checkpointing=true goes on with the same numbers")
        if self._at_once > 1:
            apart = "" if saved is None or self.net.joins else " with another --out"
            less.append(f"--set accumulate={2 * config.parts}{apart} halves them")
        less.append("--depth blocks=K lets fewer layers learn")
        there = "" if saved is None else f" {saved} is whole."
        return (
            f"Step {self.step} ran out of memory on {self.run.processes.device}, with "
            f"{self._at_once} samples at once and checkpointing={str(self.net.twice).lower()}. "
            f"Free some of it, or: {'; '.join(less)}.{there}"
        )

    @staticmethod
    def _as_begun(run: Run) -> FinetuneConfig:
        """A run that goes on cuts batches as it did before, unless told, whatever would fit now."""
        saved = _checkpoint(run)
        if saved is None or run.config.accumulate is not None:
            return run.config
        return replace(run.config, accumulate=Checkpoint.parts_of(saved))

    def _resume(self) -> None:
        saved = _checkpoint(self.run)
        if saved is None:
            return
        found = Checkpoint.load(saved, replace(self.run, config=self._cutting).describe())
        self.versions.restore(found.tensors)
        self.optimisers.restore(found.tensors)
        self.step, self.history, self.losses = found.step, found.history, found.losses


def _checkpoint(run: Run) -> Path | None:
    """Of this run, if there is one."""
    path = None if run.folder is None else run.folder / CHECKPOINT
    return path if path is not None and path.exists() else None
