"""The Sora study's three experts: how a video looks, how it moves, how its space is laid out.

Each cue is a grid over time that a network of its own reads. `fusion=mean` trains the experts one
by one and averages their logits; `fusion=joint` is the study's later form, L3DE, which joins them
early. `expert_probabilities` says what each of them makes of a video. Appearance is patch tokens of
an image encoder, motion and geometry are pictures in bytes (two channels and one).
Legend: b clips, c channels, t times, h w height and width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from features_store.table import Table
from heads.errors import BadBundle, BadSetting, BadTable
from heads.head import (
    FitReport,
    Head,
    OnEpoch,
    Probabilities,
    check_labels,
    check_table,
)  # fmt: skip
from heads.parts import arrays
from heads.parts.drawing import Dropped, drawn
from heads.parts.experts import Expert, Joint, Stream, channels, strides
from heads.parts.grids import Cue, CueModel
from heads.parts.space import OneOf, Range, Space
from heads.parts.tokens import token_rows
from heads.training.config import TrainConfig
from heads.training.loop import defined_metric, judge, train_model
from heads.training.model import Samples

_SMALLEST = 1e-12
CUES = ("appearance", "motion", "geometry")
"""In the order in which L3DE joins them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsConfig(TrainConfig):
    """Which cues there are, and how their networks are trained."""

    appearance: str | None = "image/tokens"
    """Array of patch tokens, frame by frame; none: without this expert."""
    motion: str | None = "motion/grid"
    """Array of flow pictures; none: without this expert."""
    geometry: str | None = "spatial/grid"
    """Array of depth pictures; none: without this expert."""
    fusion: Literal["mean", "joint"] = "mean"
    """Late, by the mean of the experts' logits, or early, as L3DE has it."""
    channels: int = 128
    """Of each expert's last layer."""
    fused: int = 512
    """Of the joint network's layers; its middle one has half as many."""
    feature: int = 128
    """What the joint network ends in."""
    drop: float = 0.5
    """Dropout before the joint network's last layer."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if self.mixup or self.dropout:
            raise BadSetting("experts have no mixup, and their dropout is called drop.")
        if not any(getattr(self, cue) for cue in CUES):
            raise BadSetting(f"No expert is left; name an array for one of {', '.join(CUES)}.")
        if min(self.channels, self.fused, self.feature) < 4 or not 0 <= self.drop < 1:
            raise BadSetting(
                f"channels={self.channels}, fused={self.fused}, feature={self.feature}, "
                f"drop={self.drop:g}: give 4 or more of each, and 0 or more but less than 1."
            )

    @property
    def cues(self) -> dict[str, str]:
        """Cue → its array."""
        return {cue: getattr(self, cue) for cue in CUES if getattr(self, cue)}


class Experts(Head):
    """See the module."""

    name = "experts"
    Config = ExpertsConfig
    SPACE: ClassVar[Space] = {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "weight_decay": Range(low=1e-3, high=0.5, log=True),
        "fusion": OneOf(("mean", "joint")),
        "rank_loss": OneOf(("true", "false")),
    }
    config: ExpertsConfig

    def __init__(self, config: ExpertsConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        self.lazy = tuple(config.cues.values())
        self._models: dict[str, CueModel] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.config.cues.values())

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        learn = self._samples(train, device, "training")
        decide = self._samples(validation, device, "validation")
        models = self._sized(
            {cue: Cue.of(train, key) for cue, key in self.config.cues.items()}, seed
        )
        history: dict[str, Sequence[float]] = {}
        seconds, best_epoch = 0.0, 0
        for name, model in models.items():
            model.net.to(device)
            model.tables = {0: train, id(decide): validation}
            report = train_model(model, self.config, learn, decide, seed=seed, on_epoch=on_epoch)
            model.tables = {}
            seconds, best_epoch = seconds + report.seconds, max(best_epoch, report.best_epoch)
            history |= {f"{name} {metric}": found for metric, found in report.history.items()}
        self._models = models
        metric = defined_metric(self.config.select, decide)
        return FitReport(
            metric=f"validation {metric}", best=judge(metric, self.predict(validation), decide),
            best_epoch=best_epoch, seconds=seconds, history=history,
        )  # fmt: skip

    def predict(self, table: Table) -> Probabilities:
        """The normalised geometric mean of the experts' probabilities: the mean of their logits."""
        logits = [
            np.log(np.maximum(p, _SMALLEST)) for p in self.expert_probabilities(table).values()
        ]
        mean = torch.from_numpy(np.mean(logits, 0))
        return arrays.softmax_numpy(mean)

    def parts(self, table: Table) -> Mapping[str, Probabilities]:
        return self.expert_probabilities(table)

    def expert_probabilities(self, table: Table) -> dict[str, Probabilities]:
        """What each expert says; with fusion=joint there is one, `joint`."""
        check_table(table, self.keys, "scored")
        if not self._models:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        found = {}
        for name, model in self._models.items():
            device = next(iter(model.state().values())).device
            found[name] = model.predict(table, self._nothing(table).to(device))
        return found

    def save(self, folder: Path) -> None:
        if not self._models:
            raise BadSetting("This head is not trained yet; there is nothing to save.")
        tensors = {
            f"{name}.{key}": tensor
            for name, model in self._models.items()
            for key, tensor in model.state().items()
        }
        cues = {cue for model in self._models.values() for cue in model.cues.items()}
        sizes = {f"stored.{name}": torch.tensor(cue.stored) for name, cue in cues}
        arrays.save_tensors(folder / "head.safetensors", {**tensors, **sizes})

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        try:
            cues = {
                cue: Cue(key=key, stored=tuple(found.pop(f"stored.{cue}").tolist()))
                for cue, key in self.config.cues.items()
            }
        except KeyError as error:
            raise BadBundle(
                f"{path} is no experts head of {', '.join(self.config.cues)}."
            ) from error
        models = self._sized(cues, 0)
        wanted = {
            f"{name}.{key}": tensor
            for name, model in models.items()
            for key, tensor in model.state().items()
        }
        arrays.filled(found, wanted, path)
        self._models = models

    def _sized(self, cues: Mapping[str, Cue], seed: int) -> dict[str, CueModel]:
        config, classes = self.config, len(self.classes)
        if config.fusion == "joint":
            net = drawn(seed, lambda: self._joint(cues))
            return {"joint": CueModel(net, cues, Dropped(config.drop, seed))}
        models = {}
        for name, cue in cues.items():
            make = partial(Expert, cue.shape, config.channels, classes)
            models[name] = CueModel(drawn(seed, make), {name: cue}, Dropped(0, seed))
        return models

    def _joint(self, cues: Mapping[str, Cue]) -> Joint:
        config = self.config
        times = {cue.shape[1] for cue in cues.values()}
        if len(times) > 1:
            raise BadTable(
                f"fusion=joint needs as many times of every cue, and they have {sorted(times)}."
            )
        streams = {}
        for name, cue in cues.items():
            steps = strides(*cue.shape[2:])
            streams[name] = Stream(cue.shape[0], channels(len(steps), config.channels), steps)
        fused = (config.fused, config.fused // 2, config.fused)
        return Joint(streams, fused, times.pop(), config.feature, len(self.classes))

    def _samples(self, table: Table, device: str, what: str) -> Samples:
        check_table(table, self.keys, what)
        check_labels(table, what, several=what == "training")
        rank_loss = self.config.rank_loss and what == "training"
        return Samples.of(self._nothing(table).to(device), table, rank_loss=rank_loss)

    def _nothing(self, table: Table) -> Tensor:
        """What lies beside the grids: as many views, without numbers."""
        return torch.zeros(len(table), token_rows(table, self.keys[0]).shape[1], 0)


HEAD = Experts
