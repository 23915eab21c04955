"""The contract of a strategy: how a head learns, whatever the head.

A strategy is one file in `heads/training/strategies/` with a class `STRATEGY`; the file's name is
its name, and `Options` is what can be set: `strategy=lsda:share=0.5`. `Strategy` itself is plain
training, and each strategy overrides what it changes:

    order      which videos and views an epoch looks at
    batch      what a step sees: augmentation
    losses     the loss of each sample          loss       of the whole batch
    gradient   how the loss becomes a gradient  after      what follows the optimiser's step
    judged     with which weights the model is judged and kept

What is random comes from `random`, by (seed, epoch), and never from what plain training draws, so a
weight of 0 is plain training to the bit.
"""

import importlib
import pkgutil
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.config import assignments, build
from heads.errors import BadSetting
from heads.training import strategies
from heads.training.augment import Mixing
from heads.training.config import Epoch, TrainConfig
from heads.training.losses import smoothed_losses
from heads.training.model import Batch, Model, Samples, Told

_STREAM = 0x57A7
"""Keeps a strategy's random numbers apart from those of the order of samples."""
_OPTION = re.compile(r":(?=[a-z_]+=)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step sees."""

    batch: Batch
    told: Told
    mixing: Mixing | None = None
    """Mixup, which `batch.x` has gone through already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a strategy is begun with."""

    model: Model
    config: TrainConfig
    samples: Samples
    seed: int


class Strategy:
    """See the module."""

    name: ClassVar[str]
    Options: ClassVar[type[Any]]
    changes_vectors: ClassVar[bool] = False
    """It changes feature vectors, so the model must see nothing else."""
    hidden_layers: ClassVar[int] = 0
    """How many hidden layers the model must have at least."""
    takes_mixup: ClassVar[bool] = True
    """It makes sense of samples that are mixtures of two."""
    fewest_generators: ClassVar[int] = 0
    """How many generators the videos learnt from must have at least."""

    def __init__(self, options: Any, lesson: Lesson) -> None:  # noqa: ANN401
        self.options = options
        self.model, self.config = lesson.model, lesson.config
        self.samples, self.seed = lesson.samples, lesson.seed
        self.random = np.random.default_rng((_STREAM, lesson.seed))
        told = lesson.samples.told
        self.domains, self.targets = (each.cpu().numpy() for each in (told.domains, told.targets))
        """Of every video, for what need not wait for the device."""
        self.epoch = 0

    def parameters(self) -> Sequence[Tensor]:
        """What learns beside the model and is not kept."""
        return ()

    def begin_epoch(self, epoch: int) -> None:
        """Random numbers start anew, so that they follow from the epoch alone."""
        self.epoch = epoch
        self.random = np.random.default_rng((_STREAM, self.seed, epoch))

    def order(self, order: Epoch) -> Epoch:
        """The samples of this epoch."""
        return order

    def batch(self, step: Step) -> Step:
        """What the step sees instead."""
        return step

    def losses(self, logits: Tensor, told: Told) -> Tensor:
        """Per sample, before their weights."""
        return smoothed_losses(logits, told.targets, self.config.smoothing)

    def combined(self, logits: Tensor, step: Step) -> Tensor:
        """One loss of a batch: the plain mean of weighted losses, mixed where samples are."""
        losses = self.losses(logits, step.told) * step.told.weights
        if step.mixing is not None:
            told = step.told.take(step.mixing.partners)
            other = self.losses(logits, told) * told.weights
            losses = step.mixing.share * losses + (1 - step.mixing.share) * other
        return losses.mean()

    def loss(self, step: Step) -> Tensor:
        """Of a batch, with its gradients."""
        return self.combined(self.model.training_logits(step.batch), step)

    def gradient(self, step: Step) -> Tensor:
        """Leave a gradient in every parameter that learns; the loss, for the record."""
        loss = self.loss(step)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def after(self) -> None:
        """The optimiser has made its step."""

    def judged(self) -> AbstractContextManager[None]:
        """While it is open, the model is as it is to be judged and kept."""
        return nullcontext()

    def normal(self, *shape: int) -> Tensor:
        """Normal numbers, the same on every device."""
        return self.tensor(self.random.standard_normal(shape, np.float32))

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """On the samples' device."""
        return torch.from_numpy(array).to(self.samples.x.device)

    def among(self, kinds: NDArray[np.int64]) -> NDArray[np.intp]:
        """For each row another of its kind, or itself, by a random permutation of each kind."""
        shuffled = self.random.permutation(len(kinds))
        found, place = np.empty_like(shuffled), np.argsort(kinds, kind="stable")
        found[place] = shuffled[np.argsort(kinds[shuffled], kind="stable")]
        return found

    def strangers(self, fake: NDArray[np.bool_]) -> NDArray[np.intp]:
        """For each row one of the other kind, of real and generated ones, as evenly as can be."""
        found = np.zeros(len(fake), np.intp)
        for kind in (fake, ~fake):
            others = self.random.permutation(np.flatnonzero(~kind))
            found[kind] = np.resize(others, int(kind.sum()))
        return found


def activations(model: Model, batch: Batch) -> list[Tensor]:
    """What each stage makes of a batch: standardised vectors, hidden layers, logits."""
    found = [batch.x]
    for stage in model.stages(batch):
        found.append(stage(found[-1]))
    return found[1:]


def first_look(samples: Samples) -> Batch:
    """One sample, to see the sizes of a model's layers by."""
    return Batch(x=samples.x[:1, 0], rows=np.zeros(1, np.int64), views=np.zeros(1, np.int64))


def strategy_names() -> list[str]:
    """Those that there are."""
    return sorted(module.name for module in pkgutil.iter_modules(strategies.__path__))


def parse(text: str) -> tuple[type[Strategy], Any]:
    """NAME[:option=value…] → the strategy and its options."""
    name, *texts = _OPTION.split(text)
    if name not in strategy_names():
        raise BadSetting(f"Strategy {name!r} unknown; have: {', '.join(strategy_names())}.")
    module = importlib.import_module(f"{strategies.__name__}.{name}")
    kind: type[Strategy] = module.STRATEGY
    given: Mapping[str, str] = assignments(texts)
    return kind, build(kind.Options, given, f"Strategy {name}")


def begun(lesson: Lesson) -> Strategy:
    """The strategy that a config names, for one training; refused where it makes no sense."""
    kind, options = parse(lesson.config.strategy)
    _check(kind, lesson)
    return kind(options, lesson)


def _check(kind: type[Strategy], lesson: Lesson) -> None:
    model, samples = lesson.model, lesson.samples
    if kind.changes_vectors and not model.sees_vectors:
        raise BadSetting(
            f"Strategy {kind.name} changes feature vectors, and this head reads its tokens from "
            f"the store as they are. Use a head on pooled vectors: fusion, mlp."
        )
    layers = max(len(model.stages(first_look(samples))) - 2, 0)
    if layers < kind.hidden_layers:
        raise BadSetting(
            f"Strategy {kind.name} needs {kind.hidden_layers} hidden layers with something "
            f"non-linear in between, and this head has {layers}. Use --head mlp with "
            f"--set layers={kind.hidden_layers}."
        )
    if not kind.takes_mixup and lesson.config.mixup:
        raise BadSetting(f"Strategy {kind.name} needs samples of one video; leave out mixup.")
    found = int(samples.told.domains.max()) if samples.videos else 0
    if found < kind.fewest_generators:
        raise BadSetting(
            f"Strategy {kind.name} needs generated videos of {kind.fewest_generators} sources, and "
            f"{found} is learnt from. The manifest's column `source` says whose a video is."
        )
    if kind.fewest_generators and not bool((samples.told.domains == 0).any()):
        raise BadSetting(
            f"Strategy {kind.name} needs real videos among those learnt from, of class 'real'."
        )
