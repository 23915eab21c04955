"""All that stays the same while a network is fine-tuned."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

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

    def describe(self) -> dict[str, object]:
        config = asdict(self.config)
        del config["shard"]  # changes where numbers lie, and none of them
        defaults = {one.name: one.default for one in fields(self.config)}
        for name in _LATER:
            if config[name] == defaults[name]:
                del config[name]
        return {**config, "seed": self.seed, **(self.facts or {})}
