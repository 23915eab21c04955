"""The focal loss: what is told surely already counts less, by (1 - p)^gamma (Lin et al., 2017)."""

from dataclasses import dataclass

from torch import Tensor

from heads.errors import BadSetting
from heads.training.model import Told
from heads.training.strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class FocalOptions:
    """How much less."""

    gamma: float = 2.0
    """0: plain training."""

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 20:
            raise BadSetting(f"gamma={self.gamma:g}: give 0 to 20.")


class Focal(Strategy):
    """See the module."""

    name = "focal"
    Options = FocalOptions
    options: FocalOptions

    def losses(self, logits: Tensor, told: Told) -> Tensor:
        losses = super().losses(logits, told)
        if not self.options.gamma:
            return losses
        right = logits.softmax(-1).gather(-1, told.targets[:, None])[:, 0]
        return losses * (1 - right).pow(self.options.gamma)


STRATEGY = Focal
