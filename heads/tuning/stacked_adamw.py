"""AdamW over stacks of parameters, (K, …): every member has its own rate, decay and step count.

The same arithmetic as torch's, member by member. The stacks are made once; members are put into
their places and leave them for others.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


class StackedAdamW:
    """Holds the stacks."""

    def __init__(self, not_decayed: Sequence[str], size: int) -> None:
        self.stack: dict[str, Tensor] = {}
        self._not_decayed = tuple(not_decayed)
        self._size = size
        self._first: dict[str, Tensor] = {}
        self._second: dict[str, Tensor] = {}
        self._learns: dict[str, Tensor] = {}
        """(K): 1 for members that learn the parameter, 0 for those that keep it."""
        self._steps = torch.zeros(0)

    def make(self, tensors: Mapping[str, Tensor], learnt: Sequence[str]) -> None:
        """Room for members that look like these; `learnt` by some of them, the rest are buffers."""
        for name, tensor in tensors.items():
            row = tensor.detach()
            self.stack[name] = row.expand(self._size, *row.shape).clone()
            if name in learnt:
                self.stack[name].requires_grad = True
                self._first[name] = torch.zeros_like(self.stack[name], requires_grad=False)
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
    def step(self, rates: Tensor, decay: Tensor) -> None:
        """`rates` and `decay` are (K). Gradients are used up."""
        self._steps += 1
        steps = self._steps.double()
        correction1, correction2 = 1 - _BETA1**steps, (1 - _BETA2**steps).sqrt()
        size = (rates / correction1).float()
        for name, moments in self._first.items():
            parameter = self.stack[name]
            gradient = parameter.grad
            assert gradient is not None
            shape = (-1, *[1] * (parameter.ndim - 1))
            if not name.endswith(self._not_decayed):
                parameter.mul_((1 - rates * decay).float().view(shape))
            squares = self._second[name]
            moments.lerp_(gradient, 1 - _BETA1)
            squares.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
            below = squares.sqrt().div_(correction2.float().view(shape)).add_(_EPS)
            mine = size * self._learns[name]
            parameter.sub_((moments / below).mul_(mine.view(shape)))
            parameter.grad = None

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
            self.stack[name] = tensor.detach()[index]
            self.stack[name].requires_grad = tensor.requires_grad
        for each in (self._first, self._second, self._learns):
            for name in each:
                each[name] = each[name][index]
        self._steps = self._steps[index]
        self._size = len(index)
