"""Group DRO over generators: the generators that are told worst weigh more, step by step.

The shares of generators rise by exp(rate x their loss) and sum to what generated videos weigh; real
videos weigh what they weigh (after Sagawa and others, 2020, whose groups have no such exception).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from heads.errors import BadSetting
from heads.training.model import Told
from heads.training.strategy import Lesson, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstOptions:
    """How fast shares move."""

    rate: float = 0.05
    """0: not at all, plain training."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 10:
            raise BadSetting(f"rate={self.rate:g}: give 0 to 10.")


class Worst(Strategy):
    """See the module."""

    name = "worst"
    Options = WorstOptions
    fewest_generators = 2
    takes_mixup = False
    options: WorstOptions

    def __init__(self, options: WorstOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        counts = torch.bincount(self.samples.told.domains).float()
        self._usual = counts / counts[1:].sum()
        self.shares = self._usual.clone()
        """Of the generators, among generated videos; the first is of real ones and stays."""

    def losses(self, logits: Tensor, told: Told) -> Tensor:
        losses = super().losses(logits, told)
        if self.options.rate:
            self._move(losses.detach(), told.domains)
        return losses * (self.shares / self._usual)[told.domains]

    def _move(self, losses: Tensor, domains: Tensor) -> None:
        sums, counts = (
            torch.zeros_like(self.shares).index_add(0, domains, each)
            for each in (losses, torch.ones_like(losses))
        )
        moved = self.shares * (self.options.rate * sums / counts.clamp_min(1)).exp()
        self.shares[1:] = moved[1:] / moved[1:].sum()


STRATEGY = Worst
