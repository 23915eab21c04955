"""All that stays the same while a network is fine-tuned."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from torch import Tensor

from heads.finetuning.config import FinetuneConfig
from heads.finetuning.data import Source
from heads.finetuning.processes import Processes

_LATER = (
    "strategy",
    "adapter_turns",
    "optimiser",
    "momentum",
    "decay_all",
    "norms",
    "schedule",
    "cutmix",
)
"""Settings that older checkpoints do not know; they were made with what is now the default."""
NO_NUMBER = ("shard", "checkpointing")
"""Settings that change where or when numbers are computed, and none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The settings, the videos, and where it is done."""

    config: FinetuneConfig
    train: Source
    validation: Source
    seed: int = 0
    processes: Processes = field(default_factory=Processes)
    folder: Path | None = None
    """Where checkpoints go; None: nowhere."""
    facts: Mapping[str, object] | None = None
    """What else makes it this run and no other: networks, features, videos. JSON."""

    example: Callable[[int], Tensor] | None = None
    """Inputs of so many samples, to count what a step keeps of them; None: nothing is counted."""

    def describe(self) -> dict[str, object]:
        config = {**asdict(self.config), "accumulate": self.config.parts}
        for name in NO_NUMBER:
            del config[name]
        defaults = {one.name: one.default for one in fields(self.config)}
        for name in _LATER:
            if config[name] == defaults[name]:
                del config[name]
        return {**config, "seed": self.seed, **(self.facts or {})}
