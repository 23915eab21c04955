"""Averaged weights: the mean of the weights on the way is judged and kept, not where they end.

`kind=ema` weighs later steps more, `kind=swa` takes the plain mean of the last epochs' ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from heads.errors import BadSetting
from heads.training.strategy import Lesson, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageOptions:
    """Which mean."""

    kind: Literal["ema", "swa"] = "ema"
    decay: float = 0.98
    """ema: what remains of the mean at each step; 0: plain training."""
    begin: float = 0.5
    """swa: the share of the epochs after which it begins; 1: plain training."""

    def __post_init__(self) -> None:
        if not (0 <= self.decay < 1 and 0 <= self.begin <= 1):
            raise BadSetting(
                f"decay={self.decay:g}, begin={self.begin:g}: give 0 to less than 1, and 0 to 1."
            )


class Average(Strategy):
    """See the module."""

    name = "average"
    Options = AverageOptions
    options: AverageOptions

    def __init__(self, options: AverageOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        self._live = [tensor for group in self.model.parameters() for tensor in group]
        self._mean = [tensor.detach().clone() for tensor in self._live]
        self._count = 0

    def after(self) -> None:
        if self.options.kind == "ema" and self.options.decay:
            self._count += 1  # the first steps' mean is not held up by where it began
            self._take_in(1 - min(self.options.decay, self._count / (self._count + 9)))

    @contextmanager
    def judged(self) -> Iterator[None]:
        if self.options.kind == "swa" and self.epoch >= self.options.begin * self.config.epochs:
            self._count += 1
            self._take_in(1 / self._count)
        if not self._count:
            yield
            return
        here = [tensor.detach().clone() for tensor in self._live]
        self._set(self._mean)
        try:
            yield
        finally:
            self._set(here)

    @torch.no_grad()
    def _take_in(self, share: float) -> None:
        torch._foreach_lerp_(self._mean, self._live, share)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(self._live, values)


STRATEGY = Average
