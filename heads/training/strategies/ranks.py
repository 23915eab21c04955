"""Ranks as soft labels: the less obvious an anomaly, the less sure its label.

HumanSAM's ranks weigh samples; here they take part of a label instead, which is spread over all
classes like label smoothing: `strength` of the least obvious one's, nothing of the most obvious
one's. Real videos, whose rank says nothing, keep theirs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from heads.errors import BadSetting
from heads.training.losses import smoothed_losses
from heads.training.model import Told
from heads.training.strategy import Lesson, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksOptions:
    """How much of a label."""

    strength: float = 0.3
    """0: plain training."""

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 0.9:
            raise BadSetting(f"strength={self.strength:g}: give 0 to 0.9.")


class Ranks(Strategy):
    """See the module."""

    name = "ranks"
    Options = RanksOptions
    options: RanksOptions

    def __init__(self, options: RanksOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        told = self.samples.told
        unknown = int((told.ranks.isnan() & told.fake).sum())
        if unknown:
            raise BadSetting(
                f"Strategy ranks needs a rank of every generated video, and {unknown} have none; "
                f"make them with `telltale manifest rank`."
            )

    def losses(self, logits: Tensor, told: Told) -> Tensor:
        if not self.options.strength:
            return super().losses(logits, told)
        taken = torch.where(told.fake, self.options.strength * told.ranks, 0.0)
        smoothing = 1 - (1 - self.config.smoothing) * (1 - taken)
        return smoothed_losses(logits, told.targets, smoothing)


STRATEGY = Ranks
