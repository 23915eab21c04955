"""How deep fine-tuning goes, and how it is done."""

import re
from dataclasses import dataclass
from typing import Literal

from extract.branch import Precision
from heads.errors import BadSetting
from heads.training.alternate import Alternation
from heads.training.config import TrainConfig

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
    accumulate: int = 1
    """Parts that a batch is cut into, to save memory. Each part has batch statistics of its own."""
    precision: Precision | None = None
    """Of the blocks' products; none: float32 on a CPU, bfloat16 on CUDA."""
    drop_path: float = 0.0
    """Share of samples that skip the last block's shortcuts' other side; less in earlier ones."""
    checkpointing: bool = False
    """Compute blocks twice instead of keeping what is inside them: less memory, a third slower."""
    shard: bool = False
    """Each of several processes holds a part of weights, gradients and moments instead of all."""
    ema: float = 0.0
    """How much of the running average of weights stays at a step; 0: none is kept."""
    save_every: int = 200
    """Steps between checkpoints; there is one after every epoch too."""

    alternate: str | None = None
    """Such as spatial:temporal=1:20: one step for spatial weights, twenty for temporal ones; the
    backbone gets an adapter, see `heads.training.alternate`."""
    adapter: int = 0
    """Channels of a space-time adapter behind the last block; 0: none, or 64 with alternate."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if self.strategy != "plain":
            raise BadSetting(
                f"strategy={self.strategy}: fine-tuning learns plainly. A strategy is for a head "
                f"on cached features: telltale train --set strategy={self.strategy}."
            )
        if self.mixup or self.dropout:
            raise BadSetting("Fine-tuning has no mixup and no dropout of features; use drop_path.")
        if self.rank_within_class:
            raise BadSetting("rank_within_class is for heads on cached vectors; leave it out.")
        if self.accumulate < 1 or self.save_every < 1:
            raise BadSetting(
                f"accumulate={self.accumulate}, save_every={self.save_every}: give 1 or more."
            )
        if self.adapter < 0:
            raise BadSetting(f"adapter={self.adapter}: give the number of channels, such as 64.")
        if self.alternate is not None:
            Alternation.parse(self.alternate)
        for name, low, high in (
            ("layer_decay", 0.01, 1), ("clip", 0, 1e9), ("drop_path", 0, 0.9), ("ema", 0, 0.99999),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadSetting(f"{name}={value:g}: give {low:g} to {high:g}.")

    @property
    def adapter_channels(self) -> int:
        return self.adapter or (ADAPTER if self.alternate else 0)

    def computes_in(self, device: str) -> Precision:
        if self.precision is not None:
            return self.precision
        return "bfloat16" if device.startswith("cuda") else "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which parts of the backbone learn."""

    kind: Literal["pool", "blocks", "end-to-end"]
    first: int
    """The first block that learns; as many as there are: none."""

    @staticmethod
    def parse(text: str, blocks: int) -> "Reach":
        """`pool`, `blocks=K` or `end-to-end`, of a backbone with so many blocks."""
        if text == POOL:
            return Reach(kind="pool", first=blocks)
        if text == END_TO_END:
            return Reach(kind="end-to-end", first=0)
        found = _BLOCKS.fullmatch(text)
        if found is None or not 1 <= int(found[1]) <= blocks:
            raise BadSetting(
                f"Depth {text!r} unknown; have: pool, blocks=1 … blocks={blocks} (this backbone "
                f"has {blocks}), end-to-end."
            )
        return Reach(kind="blocks", first=blocks - int(found[1]))

    @property
    def array(self) -> str:
        """What is cached of the input of the first part that learns."""
        return "tokens" if self.kind == "pool" else f"tokens@{self.first}"
