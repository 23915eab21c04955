"""Adversarial weight perturbation: each step takes its gradient where the loss is worse nearby.

Weights move a little in the direction in which the loss rises, the gradient is taken there, and
after the optimiser's step the move is taken back, as the released code of AWP does. Every weight
matrix moves by the same share of its own length; biases and norms stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.errors import BadSetting
from heads.training.strategy import Lesson, Step, Strategy

_TINY = 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class AwpOptions:
    """How far, and when it begins."""

    awp: float = 0.005
    """The move's length as a share of each matrix's; 0: plain training."""
    awp_after: int = 3
    """Epochs before the first move."""

    def __post_init__(self) -> None:
        if not 0 <= self.awp < 1 or self.awp_after < 0:
            raise BadSetting(
                f"awp={self.awp:g}, awp_after={self.awp_after}: give 0 or more but less than 1, "
                f"and 0 or more epochs."
            )


def worse(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    """Moves that are as long as the weights, in the direction in which the loss rises."""
    return [
        gradient * (weight.norm() / (gradient.norm() + _TINY))
        for weight, gradient in zip(weights, gradients, strict=True)
    ]


class Awp(Strategy):
    """See the module."""

    name = "awp"
    Options = AwpOptions
    options: AwpOptions

    def __init__(self, options: AwpOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        self._weights = [tensor for tensor in self.model.parameters()[0] if tensor.ndim > 1]
        self._moves: list[Tensor] = []

    def gradient(self, step: Step) -> Tensor:
        if not self.options.awp or self.epoch < self.options.awp_after:
            return super().gradient(step)
        learning = [w for w in self._weights if w.requires_grad]
        running = [t for t in self.model.state().values() if not t.requires_grad]
        before = [tensor.clone() for tensor in running]
        gradients = torch.autograd.grad(self.loss(step), learning)
        with torch.no_grad():
            for tensor, was in zip(running, before, strict=True):
                tensor.copy_(was)
            self._moves = worse(learning, gradients)
            torch._foreach_add_(learning, self._moves, alpha=self.options.awp)
        return super().gradient(step)

    def after(self) -> None:
        if self._moves:
            learning = [w for w in self._weights if w.requires_grad]
            with torch.no_grad():
                torch._foreach_add_(learning, self._moves, alpha=-self.options.awp)
            self._moves = []


STRATEGY = Awp
