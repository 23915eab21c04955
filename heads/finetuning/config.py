"""How deep fine-tuning goes, and how it is done."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from extract.branch import Precision
from heads.errors import BadSetting
from heads.training.alternate import Alternation
from heads.training.config import TrainConfig
from heads.training.schedule import slowfast_schedule, timm_schedule

ADAPTER = 64
POOL, END_TO_END = "pool", "end-to-end"
_BLOCKS = re.compile(r"blocks=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig(TrainConfig):
    """Fine-tuning's settings; `batch` counts the samples of one update, over all processes."""

    epochs: int = 20
    batch: int = 16
    lr: float = 2e-4
    """Of the head; block by block it is less, see layer_decay."""
    layer_decay: float = 0.75
    """Each layer's rate as a share of that of the layer above it."""
    official: bool = False
    """Group parameters as the released code does: one rate for all, the class token, the position
    embedding and alpha decay."""
    clip: float = 5.0
    """Largest norm of the gradient; 0: any."""
    accumulate: int | None = None
    """Parts that a batch is cut into, to save memory; it changes numbers by rounding alone, see
    `heads.finetuning.net`. With norms=batch each part has batch statistics of its own. None:
    as many as free memory asks for, see `heads.finetuning.step_memory`."""
    precision: Precision | None = None
    """Of the blocks' products; none: float32 on a CPU, bfloat16 on CUDA."""
    drop_path: float = 0.0
    """Share of samples that skip the last block's shortcuts' other side; less in earlier ones."""
    checkpointing: bool | None = None
    """Compute blocks twice instead of keeping what is inside them: less memory, a third slower,
    the same numbers. None: where free memory asks for it."""
    shard: bool = False
    """Each of several processes holds a part of weights, gradients and moments instead of all."""
    ema: float = 0.0
    """How much of the running average of weights stays at a step; 0: none is kept."""
    save_every: int = 200
    """Steps between checkpoints; more where they would take over a twentieth of the time. There is
    one after every epoch too."""

    alternate: str | None = None
    """Such as spatial:temporal=1:20: a step of an optimiser of spatial kernels and of what is
    neither, then twenty of one of temporal kernels and of what is neither (AltFreezing)."""
    adapter_turns: str | None = None
    """The same text, for a transformer that has no such kernels: it gets an adapter that has; see
    `heads.finetuning.adapter_turns`."""
    adapter: int = 0
    """Channels of a space-time adapter behind the last block; 0: none, or 64 with adapter_turns."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    momentum: float = 0.9
    """Of sgd."""
    schedule: Literal["cosine", "timm", "slowfast"] = "cosine"
    """How the rate goes up and down, as three released codes have it; see
    `heads.training.schedule`."""
    cutmix: float = 0.0
    """Beta distribution's parameter of pasting a box of another picture; 0: none. With mixup too,
    one of the two is drawn for each batch. Both mix rows of pixels with the batch's last one, its
    last but one, and so on."""
    decay_all: bool = False
    """Weight decay on norms, biases and all else too, as AltFreezing's released optimisers have."""
    norms: Literal["batch", "kept"] = "kept"
    """Batch norms of layers that learn: by the statistics that they have, or by the batch's own, as
    AltFreezing trains; those of small batches take a warm start away."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if self.strategy != "plain":
            raise BadSetting(
                f"strategy={self.strategy}: fine-tuning learns plainly. A strategy is for a head "
                f"on cached features: telltale train --set strategy={self.strategy}."
            )
        if self.rank_within_class:
            raise BadSetting("rank_within_class is for heads on cached vectors; leave it out.")
        if self.parts < 1 or self.save_every < 1:
            raise BadSetting(
                f"accumulate={self.parts}, save_every={self.save_every}: give 1 or more."
            )
        if self.adapter < 0:
            raise BadSetting(f"adapter={self.adapter}: give the number of channels, such as 64.")
        for turns in (self.alternate, self.adapter_turns):
            if turns is not None:
                Alternation.parse(turns)
        if self.alternate is not None and self.adapter_turns is not None:
            raise BadSetting("alternate and adapter_turns: give one of them.")
        for name, low, high in (
            ("layer_decay", 0.01, 1), ("clip", 0, 1e9), ("drop_path", 0, 0.9), ("ema", 0, 0.99999),
            ("momentum", 0, 0.999), ("cutmix", 0, 1e3),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadSetting(f"{name}={value:g}: give {low:g} to {high:g}.")

    def rates_of(self, steps_an_epoch: int, scale: float) -> NDArray[np.float64]:
        """The learning rate of every step, of layers with this share of it."""
        steps, low = self.epochs * steps_an_epoch, self.lr * self.min_lr
        warmup = round(self.warmup * steps)
        if self.schedule == "timm":
            return timm_schedule(self.lr * scale, low, steps, warmup, low)
        if self.schedule == "slowfast":
            return slowfast_schedule(self.lr * scale, steps, warmup, low * scale)
        return self.rates(steps_an_epoch) * scale

    @property
    def parts(self) -> int:
        """That a batch is cut into."""
        return 1 if self.accumulate is None else self.accumulate

    @property
    def mixes(self) -> bool:
        """Whether samples of a batch are mixed in pairs, which stay together."""
        return bool(self.mixup or self.cutmix)

    @property
    def adapter_channels(self) -> int:
        return self.adapter or (ADAPTER if self.adapter_turns else 0)

    def computes_in(self, device: str) -> Precision:
        if self.precision is not None:
            return self.precision
        return "bfloat16" if device.startswith("cuda") else "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which layers of the backbone learn."""

    kind: Literal["pool", "blocks", "end-to-end"]
    layer: int
    """The first that learns."""

    @staticmethod
    def parse(text: str, blocks: int) -> "Reach":
        """`pool`, `blocks=K` or `end-to-end`, of a backbone with so many layers between the first
        one and the pool, which is next to the head."""
        if text == POOL:
            return Reach(kind="pool", layer=blocks + 1)
        if text == END_TO_END:
            return Reach(kind="end-to-end", layer=0)
        found = _BLOCKS.fullmatch(text)
        if found is None or not 1 <= int(found[1]) <= blocks:
            raise BadSetting(
                f"Depth {text!r} unknown; have: pool, blocks=1 … blocks={blocks} (this backbone "
                f"has {blocks}), end-to-end."
            )
        return Reach(kind="blocks", layer=blocks + 1 - int(found[1]))
