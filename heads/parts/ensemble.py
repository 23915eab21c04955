"""Several trained heads as one: their probabilities are averaged.

Seeds of one head, or different heads on the same features; each member keeps its own temperature.
It is put together from what is trained, so it has no `fit`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from features_store.table import Table
from heads.errors import BadBundle, BadSetting
from heads.head import FitReport, Head, OnEpoch, Probabilities, head_class
from heads.measuring.calibration import tempered

NAME = "ensemble"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleConfig:
    """Who its members are."""

    members: Sequence[Mapping[str, Any]] = ()
    """Of each: `head`, `config` and `temperature`."""


class Ensemble(Head):
    """See the module."""

    name = NAME
    Config = EnsembleConfig
    SPACE: ClassVar[Mapping[str, Any]] = {}
    config: EnsembleConfig

    def __init__(self, config: EnsembleConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        self.heads: list[Head] = []
        for member in config.members:
            kind = head_class(str(member["head"]))
            self.heads.append(kind(kind.Config(**member["config"]), classes))
        if not self.heads:
            raise BadSetting(
                "An ensemble needs members; `telltale ensemble A B --out C` makes one."
            )
        self.lazy = tuple(sorted({key for head in self.heads for key in head.lazy}))

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key for head in self.heads for key in head.keys))

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        raise BadSetting("An ensemble is not trained: train its members, then put them together.")

    def predict(self, table: Table) -> Probabilities:
        return np.asarray(np.mean(list(self.parts(table).values()), 0), np.float32)

    def parts(self, table: Table) -> Mapping[str, Probabilities]:
        return {
            f"{head.name} {number + 1}": tempered(head.predict(table), float(member["temperature"]))
            for number, (head, member) in enumerate(
                zip(self.heads, self.config.members, strict=True)
            )
        }

    def save(self, folder: Path) -> None:
        for number, head in enumerate(self.heads):
            (folder / f"member{number}").mkdir()
            head.save(folder / f"member{number}")

    def load(self, folder: Path) -> None:
        for number, head in enumerate(self.heads):
            if not (folder / f"member{number}").is_dir():
                raise BadBundle(f"{folder} lacks member{number}; copy the whole folder.")
            head.load(folder / f"member{number}")


def together(members: Sequence[tuple[Head, float]]) -> Ensemble:
    """Trained heads, each with its temperature, as one."""
    config = EnsembleConfig(
        members=[
            {"head": head.name, "config": asdict(head.config), "temperature": temperature}
            for head, temperature in members
        ]
    )
    made = Ensemble(config, members[0][0].classes)
    made.heads = [head for head, _ in members]
    return made


HEAD = Ensemble
