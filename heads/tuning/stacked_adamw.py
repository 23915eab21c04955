"""AdamW over stacks of parameters, (K, …): every member has its own rate, decay and step count.

The same arithmetic as torch's, member by member. The stacks are made once; members are put into
their places and leave them for others.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from heads.parts.fusion_gradient import Thin
from heads.tuning.adamw_moves import BETA1, BETA2, Compiler, Move, Moves


class StackedAdamW:
    """Holds the stacks."""

    def __init__(
        self, not_decayed: Sequence[str], size: int, compiler: Compiler | None = None
    ) -> None:
        self.stack: dict[str, Tensor] = {}
        self._not_decayed = tuple(not_decayed)
        self._size = size
        self._first: dict[str, Tensor] = {}
        self._second: dict[str, Tensor] = {}
        self._learns: dict[str, Tensor] = {}
        """(K): 1 for members that learn the parameter, 0 for those that keep it."""
        self._steps = torch.zeros(0)
        self._moves = Moves(compiler)

    def make(self, tensors: Mapping[str, Tensor], learnt: Sequence[str]) -> None:
        """Room for members that look like these; `learnt` by some of them, the rest are buffers."""
        for name, tensor in tensors.items():
            row = tensor.detach()
            self.stack[name] = row.expand(self._size, *row.shape).clone()
            if name in learnt:
                self._first[name] = torch.zeros_like(self.stack[name])
                self._second[name] = torch.zeros_like(self._first[name])
                self._learns[name] = torch.ones(self._size, device=row.device)
        self._steps = torch.zeros(self._size, device=next(iter(tensors.values())).device)

    @torch.no_grad()
    def put(self, place: int, tensors: Mapping[str, Tensor]) -> None:
        """A new member. Tensors that do not want gradients stay as they are."""
        for name, tensor in tensors.items():
            self.stack[name][place].copy_(tensor)
            if name in self._first:
                self._first[name][place].zero_()
                self._second[name][place].zero_()
                self._learns[name][place] = float(tensor.requires_grad)
        self._steps[place] = 0

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor | Thin], rates: Tensor, decay: Tensor) -> None:
        """`rates` and `decay` are (K)."""
        self._steps += 1
        steps = self._steps.double()
        size = rates / (1 - BETA1**steps)
        root = (1 - BETA2**steps).sqrt().float()
        moves = []
        for name, first in self._first.items():
            found = gradients[name]
            left, right = (found.left, found.right) if isinstance(found, Thin) else (found, None)
            learns = self._learns[name]
            lost = 0.0 if name.endswith(self._not_decayed) else decay
            factors = (size * learns).float(), root, (1 - rates * lost * learns).float()
            shape = (-1, *[1] * (first.ndim - 1))
            moves.append(
                Move(
                    self.stack[name], first, self._second[name], left, right,
                    *(factor.view(shape) for factor in factors),
                )
            )  # fmt: skip
        self._moves.make(moves)

    @torch.no_grad()
    def copy_rows(self, into: Mapping[str, Tensor], places: Sequence[int]) -> None:
        """The present values of some members."""
        index = torch.tensor(places, dtype=torch.int64, device=self._steps.device)
        for name, tensor in self.stack.items():
            into[name].index_copy_(0, index, tensor[index])

    @torch.no_grad()
    def only(self, index: Tensor) -> None:
        """Keep these members, in this order, and no room for others."""
        for name, tensor in self.stack.items():
            self.stack[name] = tensor[index]
        for each in (self._first, self._second, self._learns):
            for name in each:
                each[name] = each[name][index]
        self._steps = self._steps[index]
        self._size = len(index)
