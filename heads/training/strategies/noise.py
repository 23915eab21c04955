"""Feature noise: generated videos' vectors are blurred, so that no head hangs on fine traces.

Normal noise by each column's own spread; real videos are left as they are.
"""

from dataclasses import dataclass, replace

import torch

from heads.errors import BadSetting
from heads.training.strategy import Lesson, Step, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseOptions:
    """How much."""

    strength: float = 0.3
    """Its deviation as a share of each column's; 0: plain training."""

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 10:
            raise BadSetting(f"strength={self.strength:g}: give 0 to 10.")


class Noise(Strategy):
    """See the module."""

    name = "noise"
    Options = NoiseOptions
    changes_vectors = True
    takes_mixup = False
    options: NoiseOptions

    def __init__(self, options: NoiseOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        self._scale = options.strength * self.samples.x.flatten(0, 1).std(0, correction=0)

    def batch(self, step: Step) -> Step:
        fake = torch.from_numpy((self.domains[step.batch.rows] > 0).nonzero()[0])
        if not self.options.strength or not len(fake):
            return step
        rows = fake.to(step.batch.x.device)
        x = step.batch.x.clone()
        x[rows] += self.normal(len(rows), x.shape[1]) * self._scale
        return replace(step, batch=replace(step.batch, x=x))


STRATEGY = Noise
