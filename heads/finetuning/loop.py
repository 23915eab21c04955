"""The loop of fine-tuning: the same for the pool, for some blocks, and end to end.

What a step does follows from (seed, epoch, step) alone, so that a run that was killed goes on as
if nothing had happened, and so that several processes take the steps that one would take.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from heads.errors import BadTable
from heads.finetuning.checkpoints import Checkpoint, copy_into, optimiser_state, restore_optimiser
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.data import Pick, Source
from heads.finetuning.layer_decay import parameter_groups
from heads.finetuning.net import FinetuneNet, drop_path_factors
from heads.finetuning.processes import Processes
from heads.finetuning.sharding import share_of, share_out
from heads.head import FitReport, Probabilities
from heads.training.alternate import Alternation, by_kind
from heads.training.config import Epoch, epoch_order
from heads.training.loop import defined_metric, judge
from heads.training.losses import smoothed_losses

CHECKPOINT = "checkpoint.safetensors"
State = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All that stays the same while a network is fine-tuned."""

    config: FinetuneConfig
    train: Source
    validation: Source
    seed: int = 0
    processes: Processes = field(default_factory=Processes)
    folder: Path | None = None
    """Where checkpoints go; None: nowhere."""
    facts: Mapping[str, object] | None = None
    """What else makes it this run and no other: networks, features, videos. JSON."""

    def describe(self) -> dict[str, object]:
        config = asdict(self.config)
        del config["shard"]  # changes where numbers lie, and none of them
        return {**config, "seed": self.seed, **(self.facts or {})}


class Finetuner:
    """Trains a network; goes on from the folder's checkpoint where there is one."""

    def __init__(self, net: FinetuneNet, run: Run) -> None:
        config = run.config
        self.net = share_out(net, run.processes) if config.shard else net.to(run.processes.device)
        self.run = run
        self.metric = defined_metric(config.select, run.validation.samples)
        """What decides."""
        self.step = 0
        self.losses: list[float] = []
        self.history: list[float] = []
        """The validation metric before training, and after every epoch."""
        self._names: dict[Tensor, str] = {
            p: name for name, p in net.named_parameters() if p.requires_grad
        }
        groups = parameter_groups(
            ((name, p) for p, name in self._names.items()), config, len(net.backbone.blocks)
        )
        self._optimiser = torch.optim.AdamW(list(groups), lr=config.lr, fused=True)
        self._alternation = (
            None if config.alternate is None else Alternation.parse(config.alternate)
        )
        self._kinds = by_kind((name, p) for p, name in self._names.items())
        device = run.processes.device
        half = config.computes_in(device) == "float16"
        self._scaler = torch.amp.GradScaler(torch.device(device).type, enabled=half)
        alone = config.shard or run.processes.count == 1
        self._parallel = None if alone else self._in_parallel()
        self._average = self._copy() if config.ema else None
        self._best: State = {}
        samples = run.train.samples
        count = config.samples(samples.videos, samples.views)
        self._parts = step_slices(count, config.batch, config.accumulate * run.processes.count)
        self._rates = config.rates(len(self._parts))
        self._resume()

    def fit(self, *, stop_after: int | None = None) -> FitReport:
        """Train to the end, or up to a step, and leave the best weights in the network."""
        start = time.perf_counter()
        if not self.history:
            self._judge()
        end = min(len(self._rates), stop_after or len(self._rates))
        while self.step < end and not self._is_patient_no_more():
            epoch, position = divmod(self.step, len(self._parts))
            last = min(len(self._parts), position + end - self.step)
            self._epoch(epoch, range(position, last))
            if self.step % len(self._parts) == 0:
                self._judge()
                self._save()
        best = int(np.argmax(self.history))
        if stop_after is None:
            copy_into(self.net.learnt(), self._best)
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
            logits = self.net(*self._on_device(source, pick, inputs))
            found[part] = logits.float().softmax(-1).cpu().reshape(len(part), samples.views, -1)
        whole: Probabilities = processes.total(found)[: samples.videos].numpy()
        return whole

    def _epoch(self, epoch: int, steps: range) -> None:
        config, source, processes = self.run.config, self.run.train, self.run.processes
        samples = source.samples
        order = epoch_order(config, self.run.seed, epoch, samples.videos, samples.views)
        shares = [
            share
            for step in steps
            for share in _shares(self._parts[step], config.accumulate, processes)
        ]
        picks = [Pick(rows=order.rows[share], views=order.views[share]) for share in shares]
        inputs = source.stream(picks)
        self.net.train()
        try:
            for number in range(len(steps)):
                now = slice(number * config.accumulate, (number + 1) * config.accumulate)
                self._update(order, self._parts[steps[number]], shares[now], inputs)
                if self.step % config.save_every == 0 and self.step % len(self._parts):
                    self._save()
        finally:
            inputs.close()

    def _update(
        self, order: Epoch, part: slice, shares: Sequence[NDArray[np.int64]],
        inputs: Iterator[Tensor],
    ) -> None:  # fmt: skip
        """One step of the optimiser; `shares` are this process's samples of the batch."""
        config = self.run.config
        for group in self._optimiser.param_groups:
            group["lr"] = self._rates[self.step] * group["lr_scale"]
        size = part.stop - part.start
        keep = None
        if config.drop_path:
            seed = (self.run.seed, self.step)
            keep = drop_path_factors(config.drop_path, len(self.net.backbone.blocks), size, seed)
        total = torch.zeros(1)
        for number, share in enumerate(shares):
            pick = Pick(rows=order.rows[share], views=order.views[share])
            last = number == len(shares) - 1
            factors = None if keep is None else keep[:, :, share - part.start]
            with self._parallel.no_sync() if self._parallel and not last else nullcontext():
                loss = self._loss(pick, next(inputs), factors) / size
                whole = loss * self.run.processes.count  # processes' gradients are averaged
                self._scaler.scale(whole).backward()
            total += loss.detach().cpu()
        self._descend()
        self.losses.append(float(self.run.processes.total(total)))
        if not math.isfinite(self.losses[-1]):
            raise BadTable(f"Step {self.step}: the loss is {self.losses[-1]}. Try a lower lr.")
        self.step += 1

    def _loss(self, pick: Pick, inputs: Tensor, factors: Tensor | None) -> Tensor:
        """The sum over the samples."""
        samples, device = self.run.train.samples, self.run.processes.device
        model = self._parallel or self.net
        keep = None if factors is None else factors.to(device)
        logits = model(*self._on_device(self.run.train, pick, inputs), keep)
        targets, weights = samples.targets[pick.rows], samples.weights[pick.rows]
        losses = smoothed_losses(logits, targets.to(device), self.run.config.smoothing)
        return (losses * weights.to(device)).sum()

    def _descend(self) -> None:
        config = self.run.config
        if self._alternation is not None:
            self._alternation.forget(self.step, self._kinds)
        if config.clip:
            self._scaler.unscale_(self._optimiser)
            torch.nn.utils.clip_grad_norm_(list(self._names), config.clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._optimiser.zero_grad(set_to_none=True)
        if self._average is not None:
            with torch.no_grad():
                for name, tensor in self.net.learnt().items():
                    self._average[name].lerp_(tensor, 1 - config.ema)

    def _on_device(self, source: Source, pick: Pick, inputs: Tensor) -> tuple[Tensor, Tensor]:
        device = self.run.processes.device
        depth = source.samples.x[pick.rows, pick.views]
        return inputs.to(device), depth.to(device)

    def _judge(self) -> None:
        """Note the validation metric, and keep the weights if they are the best."""
        with self._averaged():
            probabilities = self.probabilities(self.run.validation)
            metric = judge(self.metric, probabilities, self.run.validation.samples)
            if math.isnan(metric):
                raise BadTable("The validation metric is not a number. Try a lower lr.")
            if metric > max(self.history, default=-math.inf):
                self._best = self._copy()
        self.history.append(metric)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The running average in the network's place."""
        if self._average is None:
            yield
            return
        live = self._copy()
        copy_into(self.net.learnt(), self._average)
        yield
        copy_into(self.net.learnt(), live)

    def _is_patient_no_more(self) -> bool:
        patience = self.run.config.patience
        return 0 < patience <= len(self.history) - 1 - int(np.argmax(self.history))

    def _copy(self) -> State:
        return {name: tensor.detach().clone() for name, tensor in self.net.learnt().items()}

    def _in_parallel(self) -> DistributedDataParallel:
        device = torch.device(self.run.processes.device)
        ids = [device] if device.type == "cuda" else None
        return DistributedDataParallel(self.net, device_ids=ids)

    def _save(self) -> None:
        if self.run.folder is None:
            return
        scaler = {
            name: torch.tensor(float(value)) for name, value in self._scaler.state_dict().items()
        }
        tensors = {
            "live": self.net.learnt(), "best": self._best, "average": self._average or {},
            "scaler": scaler, "optimiser": optimiser_state(self._optimiser, self._names),
        }  # fmt: skip
        found = Checkpoint(
            step=self.step, tensors=tensors, history=self.history, losses=self.losses
        )
        path, writes = self.run.folder / CHECKPOINT, self.run.processes.first
        found.save(path, self.run.describe(), writes=writes)

    def _resume(self) -> None:
        if self.run.folder is None or not (self.run.folder / CHECKPOINT).exists():
            return
        found = Checkpoint.load(self.run.folder / CHECKPOINT, self.run.describe())
        copy_into(self.net.learnt(), found.tensors["live"])
        restore_optimiser(self._optimiser, self._names, found.tensors.get("optimiser", {}))
        if self._average is not None:
            copy_into(self._average, found.tensors["average"])
        if "scaler" in found.tensors:
            state = {name: float(value) for name, value in found.tensors["scaler"].items()}
            self._scaler.load_state_dict(
                {n: int(v) if n in ("growth_interval", "_growth_tracker") else v
                 for n, v in state.items()}
            )  # fmt: skip
        live = self.net.learnt()
        self._best = {n: share_of(tensor, live[n]) for n, tensor in found.tensors["best"].items()}
        self.step, self.history, self.losses = found.step, found.history, found.losses


def step_slices(samples: int, batch: int, shares: int) -> list[slice]:
    """Parts of an epoch. What is left over joins the last one if it is too little to be shared."""
    starts = list(range(0, samples, batch))
    if len(starts) > 1 and samples - starts[-1] < max(2, shares):
        starts.pop()
    if samples - starts[-1] < shares:
        raise BadTable(f"{samples} samples cannot be shared by {shares} parts of a batch.")
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], samples], strict=True)]


def _shares(part: slice, accumulate: int, processes: Processes) -> list[NDArray[np.int64]]:
    """This process's samples of every part of a batch."""
    parts = np.array_split(np.arange(part.start, part.stop), accumulate * processes.count)
    return parts[processes.rank :: processes.count]
