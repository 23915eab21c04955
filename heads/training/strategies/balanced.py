"""Class-balanced weights: rare classes, or rare generators, weigh more, by their effective number.

A group of n videos counts as (1 - beta^n) / (1 - beta) of them (Cui and others, 2019): beta=0
leaves all as they are, towards 1 every group weighs alike. The mean weight stays 1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from heads.errors import BadSetting
from heads.training.model import Told
from heads.training.strategy import Lesson, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancedOptions:
    """Whose sizes are made up for, and how far."""

    beta: float = 0.999
    by: Literal["class", "generator"] = "class"

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise BadSetting(f"beta={self.beta:g}: give 0 or more, less than 1.")


class Balanced(Strategy):
    """See the module."""

    name = "balanced"
    Options = BalancedOptions
    options: BalancedOptions

    def __init__(self, options: BalancedOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        self._of_class = options.by == "class"
        groups = self.targets if self._of_class else self.domains
        counts = np.bincount(groups)
        each = (1 - options.beta) / (1 - options.beta ** np.maximum(counts, 1))
        each /= (each * counts).sum() / len(groups)
        self._weights = self.tensor(each.astype(np.float32))

    def losses(self, logits: Tensor, told: Told) -> Tensor:
        groups = told.targets if self._of_class else told.domains
        return super().losses(logits, told) * self._weights[groups]


STRATEGY = Balanced
