"""AdamW's arithmetic over stacks, in place; on a GPU one compiled program for a whole step.

Operation by operator a step passes two dozen times over parameters, moments and gradient, compiled
it reads and writes each of the first three once, and fc1's gradient is made on the way.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from heads.errors import BadSetting
from heads.parts.fusion_gradient import Thin

BETA1, BETA2 = 0.9, 0.999
_EPS = 1e-8

log = logging.getLogger(__name__)
Step = Callable[[Sequence["Move"]], None]
Compiler = Callable[[Step], Step]


class Move(NamedTuple):
    """One parameter's, of every member: (K, …) all."""

    parameter: Tensor
    first: Tensor
    second: Tensor
    gradient: Tensor
    """The left factor where there is a right one."""
    right: Tensor | None
    size: Tensor
    """Learning rates over the first moments' correction; 0 where the parameter does not learn."""
    root: Tensor
    """Of the second moments' correction."""
    keep: Tensor
    """What weight decay leaves."""


class Moves:
    """Makes moves."""

    def __init__(self, compiler: Compiler | None) -> None:
        self._compiled = None if compiler is None else compiler(_in_one)

    def make(self, moves: Sequence[Move]) -> None:
        if self._compiled is not None:
            from torch._dynamo.exc import TorchDynamoException

            try:
                return self._compiled(moves)
            except torch.OutOfMemoryError:
                raise
            except (ImportError, TorchDynamoException) as error:
                self._compiled = None
                log.warning("populations learn without a compiled step: %s", _first_line(error))
            except RuntimeError as error:  # it ran: some parameters may have been moved, some not
                raise BadSetting(
                    f"A population's compiled step broke off ({_first_line(error)}); give the same "
                    f"command with TELLTALE_COMPILE=never before it."
                ) from error
        for move in moves:
            gradient = move.gradient
            if move.right is not None:
                gradient = Thin(left=gradient, right=move.right).whole()
            _moved(move, gradient)
        return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def compiler_of(device: torch.device | str) -> Compiler | None:
    """Torch's on a GPU, where `TELLTALE_COMPILE` does not say never; on a CPU it gains nothing."""
    if torch.device(device).type != "cuda":
        return None
    from extract.running.quickening import asked

    return None if asked() == "never" else compiled_step


def compiled_step(step: Step) -> Step:
    """Of any number of members."""
    return torch.compile(step, dynamic=True, fullgraph=True)


def _in_one(moves: Sequence[Move]) -> None:
    for move in moves:
        gradient = move.gradient
        if move.right is not None:  # not as a product, which would be a kernel of its own
            gradient = (gradient.unsqueeze(-1) * move.right.unsqueeze(-2)).sum(-3)
        _moved(move, gradient)


def _moved(move: Move, gradient: Tensor) -> None:
    move.parameter.mul_(move.keep)
    move.first.lerp_(gradient, 1 - BETA1)
    move.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    below = move.second.sqrt().div_(move.root).add_(_EPS)
    move.parameter.sub_((move.first / below).mul_(move.size))
