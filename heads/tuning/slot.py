"""One place of a population: the member at work there, and how far it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heads.head import FitReport
from heads.training.loop import TRAINING_LOSS, Watch
from heads.zoo.fusion import Fusion, FusionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A head to be trained."""

    number: int
    """The caller's."""
    config: FusionConfig
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A member at its end; a `best_epoch` of -1 says that it broke down before any was good."""

    member: Member
    head: Fusion
    report: FitReport


OnMemberEpoch = Callable[[Member, int, float], bool]
"""(member, epoch, validation metric) → stop it here?"""


@dataclass(slots=True, kw_only=True)
class Slot:
    """A member at work."""

    member: Member
    head: Fusion
    watch: Watch
    metric: str
    parts: list[slice]
    """An epoch's batches."""
    rates: NDArray[np.float64]
    losses: list[float] = field(default_factory=list)
    """The mean of each epoch's steps."""
    loss: float = 0.0
    """The sum of this epoch's steps."""
    epoch: int = 0
    step: int = 0
    """Of this epoch."""
    started: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> int:
        """Steps until its epoch ends."""
        return len(self.parts) - self.step

    def next_steps(self, count: int) -> tuple[list[int], list[int], NDArray[np.float64]]:
        """Where the next batches begin, their sizes, and the learning rates."""
        parts = self.parts[self.step : self.step + count]
        first = self.epoch * len(self.parts) + self.step
        starts = [part.start for part in parts]
        return starts, [part.stop - part.start for part in parts], self.rates[first : first + count]

    def end_epoch(self) -> None:
        """On to the next one."""
        self.losses.append(self.loss / len(self.parts))
        self.loss, self.step, self.epoch = 0.0, 0, self.epoch + 1

    def finished(self) -> Finished:
        """What became of it."""
        report = FitReport(
            metric=f"validation {self.metric}", best=self.watch.best,
            best_epoch=self.watch.best_epoch, seconds=time.perf_counter() - self.started,
            history={self.metric: tuple(self.watch.history), TRAINING_LOSS: tuple(self.losses)},
        )  # fmt: skip
        return Finished(member=self.member, head=self.head, report=report)
