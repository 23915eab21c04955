"""Scores of the path that a video's frames draw in an image encoder's space.

`method` names whose: `d3` (how uneven distances are), `stall` (how likely frames and steps are
among real ones), `restrav` (lengths and angles through its authors' small network), `split` (how
rough and torn patches move). What is kept of the training videos is how *real* ones score, so that
a score becomes a share of real videos; generated ones are needed by `restrav` without `mlp` alone.
The head tells real from generated: the other classes get their shares of the training videos. A
view with too few frames for the method is no result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features_store.table import Table
from heads.errors import BadBundle, BadSetting, BadTable
from heads.head import FitReport, Head, OnEpoch, Probabilities, check_labels, check_table
from heads.measuring.metrics import REAL
from heads.parts import arrays
from heads.parts.path_scores import Likelihood, Patchwork, PathScore, Straightness, Unevenness
from heads.parts.pooled import timed_report
from heads.parts.present import PRESENT, counted
from heads.parts.space import OneOf, Range, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryConfig:
    """What there is to set."""

    method: Literal["d3", "stall", "restrav", "split"] = "d3"
    """Whose score."""
    branch: str = "image"
    """The branch whose arrays are read."""
    distance: Literal["l2", "cos"] = "l2"
    """Between frames, for d3."""
    mlp: str | None = None
    """For restrav: its authors' model.pt, with mean.npy and std.npy beside it. None: a network of
    that shape learns from the training videos, generated ones too."""
    false_alarms: float = 0.05
    """The share of real training views that get less than one half for `real`."""

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < 1:
            raise BadSetting(f"false_alarms={self.false_alarms:g}: give more than 0, less than 1.")
        if self.mlp is not None and self.method != "restrav":
            raise BadSetting(f"mlp={self.mlp} belongs to method=restrav, not to {self.method}.")


class Trajectory(Head):
    """See the module."""

    name = "trajectory"
    Config = TrajectoryConfig
    SPACE: ClassVar[Space] = {
        "method": OneOf(("d3", "stall")),
        "false_alarms": Range(low=0.01, high=0.5, log=True),
    }
    config: TrajectoryConfig
    _reals: NDArray[np.float64] | None = None
    """Scores of the real training views, in order."""
    _shares: NDArray[np.float64]
    """Of the classes that are not real, among them; 0 for real."""

    def __init__(self, config: TrajectoryConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        if REAL not in self.classes:
            have = ", ".join(self.classes)
            raise BadSetting(f"trajectory tells {REAL!r} from the rest; the classes are {have}.")
        mlp = None if config.mlp is None else Path(config.mlp).expanduser()
        self._score: PathScore = {
            "d3": lambda: Unevenness(config.distance),
            "stall": Likelihood,
            "restrav": lambda: Straightness(mlp),
            "split": Patchwork,
        }[config.method]()

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(f"{self.config.branch}/{name}" for name in (*self._score.arrays, PRESENT))

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        with timed_report(self, validation) as report:
            check_table(train, self.keys, "training")
            check_labels(train, "training", several=self._score.needs_generated)
            real = train.labels == self.classes.index(REAL)
            if not real.any():
                raise BadTable(
                    f"All training videos are {train.classes[int(train.labels[0])]!r}; trajectory "
                    f"needs real ones, whose scores others are compared with."
                )
            self._learn(train, real, seed)
            counts = np.bincount(train.labels[~real], minlength=len(self.classes)).astype(float)
            others = np.arange(len(self.classes)) != self.classes.index(REAL)
            counts = counts if counts.any() else others.astype(float)
            self._shares = counts / counts.sum()
            scores = self._scores(train.take(real))
            self._reals = np.sort(scores[np.isfinite(scores)])
            if not len(self._reals):
                raise BadTable(
                    f"No real training video has the {self._score.least} frames that "
                    f"{self.config.method} needs; use a protocol with more frames a second."
                )
        return report()

    def _learn(self, train: Table, real: NDArray[np.bool_], seed: int) -> None:
        views, present = self._views(train)
        whole = torch.from_numpy(present.all(-1))
        real_n = torch.from_numpy(np.repeat(real, len(present) // len(real)))
        self._score.learn({key: x[whole] for key, x in views.items()}, real_n[whole], seed)

    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored")
        if self._reals is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        scores = self._scores(table)
        below = np.searchsorted(self._reals, scores, side="right")
        share = (below + 1) / (len(self._reals) + 1)
        real = np.where(np.isfinite(scores), share / (share + self.config.false_alarms), np.nan)
        found = (1 - real[..., None]) * self._shares
        found[..., self.classes.index(REAL)] = real
        return found.astype(np.float32)

    def _scores(self, table: Table) -> NDArray[np.float64]:
        """(videos, views); larger is more real, NaN where too few frames are there."""
        views, present = self._views(table)
        scores = np.full(len(present), np.nan)
        for rows, frames in counted(present):
            if frames >= self._score.least:
                part = {key: x[torch.from_numpy(rows)] for key, x in views.items()}
                scores[rows] = self._score.score(part, frames).double().numpy()
        return scores.reshape(len(table), -1)

    def _views(self, table: Table) -> tuple[dict[str, Tensor], NDArray[np.bool_]]:
        """All views one after the other: the arrays, and which frames are there."""
        *keys, last = self.keys
        found = {
            key.rpartition("/")[2]: torch.from_numpy(table.arrays[key]).float().flatten(0, 1)
            for key in keys
        }
        present = table.arrays[last].astype(bool)
        return found, present.reshape(-1, present.shape[-1])

    def save(self, folder: Path) -> None:
        if self._reals is None:
            raise BadSetting("This head is not trained yet; there is nothing to save.")
        own = {f"score.{name}": tensor for name, tensor in self._score.state().items()}
        known = {"reals": torch.from_numpy(self._reals), "shares": torch.from_numpy(self._shares)}
        arrays.save_tensors(folder / "head.safetensors", {**known, **own})

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        try:
            reals, shares = found.pop("reals").numpy(), found.pop("shares").numpy()
            self._score.restore({k.removeprefix("score."): v for k, v in found.items()})
        except KeyError as error:
            raise BadBundle(f"{path} is no trajectory head of {self.config.method}.") from error
        if not len(reals) or shares.shape != (len(self.classes),):
            raise BadBundle(f"{path} is no trajectory head of {len(self.classes)} classes.")
        self._reals, self._shares = reals, shares


HEAD = Trajectory
