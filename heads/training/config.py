"""What heads that learn by gradient descent have in common: settings, and the order of samples.

Everything random comes from NumPy's PCG64 by (seed, epoch): the same on every device, and the
same whether a head is trained alone or among others.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heads.errors import BadSetting
from heads.training.schedule import cosine_schedule

Metric = Literal["auc", "accuracy", "loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a head is trained."""

    epochs: int = 60
    batch: int = 64
    """Samples a step."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    min_lr: float = 0.01
    """Where the cosine ends and the warm-up starts, as a share of lr."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises."""
    weight_decay: float = 0.05
    """Not on biases, norms and alpha."""
    smoothing: float = 0.1
    """Label smoothing."""
    rank_loss: bool = True
    """Weigh each sample by log(e + rank)."""
    rank_within_class: bool = False
    """Divide those weights by their mean in the class, so that reals (rank 1) do not weigh more."""
    mixup: float = 0.0
    """Beta distribution's parameter of mixing pairs of samples; 0: none."""
    dropout: float = 0.0
    """Share of features that training replaces by their mean over the batch, after the norms."""
    views: Literal["random", "all"] = "random"
    """Which cached views of a video an epoch takes: one at random, or each."""
    repeat: int = 1
    """With random views: how many of each video an epoch takes, side by side."""
    patience: int = 0
    """Epochs without a better validation metric before training stops; 0: never."""
    select: Metric = "auc"
    """What decides on the best epoch, on the validation videos."""
    strategy: str = "plain"
    """How it learns: NAME[:option=value…], as `telltale heads --strategies` lists them."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or self.patience < 0 or self.repeat < 1:
            raise BadSetting(
                f"epochs={self.epochs}, batch={self.batch}, patience={self.patience}, "
                f"repeat={self.repeat}: give 1 or more epochs, 2 or more samples a batch, 0 or "
                f"more patience, 1 or more repeats."
            )
        if self.batch % self.repeat:
            raise BadSetting(f"batch={self.batch} is no multiple of repeat={self.repeat}.")
        for name, low, high in (
            ("lr", 0, math.inf), ("min_lr", 0, 1), ("warmup", 0, 1), ("weight_decay", 0, math.inf),
            ("smoothing", 0, 0.999), ("mixup", 0, math.inf), ("dropout", 0, 0.95),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high or not math.isfinite(value):
                raise BadSetting(f"{name}={value:g}: give {low:g} to {high:g}.")
        from heads.training.strategy import parse  # which knows these settings

        parse(self.strategy)

    def samples(self, videos: int, views: int) -> int:
        """Of an epoch."""
        return videos * (views if self.views == "all" else self.repeat)

    def rates(self, steps_an_epoch: int) -> NDArray[np.float64]:
        """The learning rate of every step of the training."""
        steps, low = self.epochs * steps_an_epoch, self.lr * self.min_lr
        return cosine_schedule(self.lr, low, steps, int(self.warmup * steps), low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """The samples of one epoch, in order: which video, which view, and how they are mixed."""

    rows: NDArray[np.int64]
    views: NDArray[np.int64]
    partners: NDArray[np.int64] | None
    """Position of the sample that each is mixed with."""
    shares: NDArray[np.float32] | None
    """How much of itself remains."""
    dropout_seed: int


def epoch_order(config: TrainConfig, seed: int, epoch: int, videos: int, views: int) -> Epoch:
    """What an epoch looks at; depends on nothing else."""
    random = np.random.default_rng((seed, epoch))
    if config.views == "all":
        samples = random.permutation(videos * views)
        rows, chosen = samples // views, samples % views
    else:
        rows = np.repeat(random.permutation(videos), config.repeat)
        chosen = random.integers(0, views, len(rows))
    partners = shares = None
    dropout_seed = int(random.integers(2**31))
    if config.mixup:
        partners, shares = _mixing(config, random, len(rows))
    return Epoch(
        rows=rows, views=chosen, partners=partners, shares=shares, dropout_seed=dropout_seed
    )


def batches(config: TrainConfig, samples: int) -> list[slice]:
    """Parts of an epoch. A sample left over at the end joins the last batch."""
    starts = list(range(0, samples, config.batch))
    if len(starts) > 1 and samples - starts[-1] < 2:
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], samples], strict=True)]


def _mixing(
    config: TrainConfig, random: np.random.Generator, samples: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Partners inside the batch; one share a batch."""
    partners = np.arange(samples)
    shares = np.ones(samples, np.float32)
    for part in batches(config, samples):
        partners[part] = random.permutation(partners[part])
        shares[part] = random.beta(config.mixup, config.mixup)
    return partners, shares
