"""Manifold mixup: pairs of samples are mixed in a layer that is drawn anew for every step.

With their labels, as mixup does it (Verma and others, 2019); the first layer is the vectors
themselves, so a head without hidden layers would get plain mixup, which is a setting of its own.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from heads.errors import BadSetting
from heads.training.augment import Mixing
from heads.training.strategy import Step, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifoldOptions:
    """How far pairs are mixed."""

    alpha: float = 0.5
    """Beta distribution's parameter; 0: plain training."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 100:
            raise BadSetting(f"alpha={self.alpha:g}: give 0 to 100.")


class Manifold(Strategy):
    """See the module."""

    name = "manifold"
    Options = ManifoldOptions
    hidden_layers = 1
    takes_mixup = False
    options: ManifoldOptions

    def loss(self, step: Step) -> Tensor:
        if not self.options.alpha:
            return super().loss(step)
        count = len(step.batch.rows)
        partners = self.tensor(self.random.permutation(count))
        mixing = Mixing(partners, float(self.random.beta(self.options.alpha, self.options.alpha)))
        *stages, last = self.model.stages(step.batch)
        where = int(self.random.integers(len(stages)))
        found = step.batch.x
        for number, stage in enumerate(stages):
            found = stage(found)
            found = mixing.mixed(found) if number == where else found
        return self.combined(last(found), replace(step, mixing=mixing))


STRATEGY = Manifold
