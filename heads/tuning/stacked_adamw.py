"""AdamW over stacks of parameters, (K, …): every member has its own rate, decay and step count.

The same arithmetic as torch's, member by member.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


class StackedAdamW:
    """Holds the stacks. Members join at the end and leave from anywhere."""

    def __init__(self, not_decayed: Sequence[str]) -> None:
        self.stack: dict[str, Tensor] = {}
        self._not_decayed = tuple(not_decayed)
        self._first: dict[str, Tensor] = {}
        self._second: dict[str, Tensor] = {}
        self._steps = torch.zeros(0)

    def join(self, tensors: Mapping[str, Tensor]) -> None:
        """One more member. Tensors that want gradients are learnt, others are buffers."""
        for name, tensor in tensors.items():
            row = tensor.detach()[None].clone()
            there = self.stack.get(name)
            joined = row if there is None else torch.cat([there.detach(), row])
            self.stack[name] = joined
            joined.requires_grad = tensor.requires_grad
            if tensor.requires_grad:
                zero = torch.zeros_like(row)
                for moments in (self._first, self._second):
                    moments[name] = (
                        torch.cat([moments[name], zero]) if there is not None else zero.clone()
                    )
        device = next(iter(tensors.values())).device
        self._steps = torch.cat([self._steps.to(device), torch.zeros(1, device=device)])

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
            parameter.sub_((moments / below).mul_(size.view(shape)))
            parameter.grad = None

    @torch.no_grad()
    def copy_rows(self, into: Mapping[str, Tensor], mask: Tensor) -> None:
        """The present values of the members in the mask (K)."""
        for name, tensor in self.stack.items():
            shape = (-1, *[1] * (tensor.ndim - 1))
            into[name].copy_(torch.where(mask.view(shape), tensor, into[name]))

    @torch.no_grad()
    def only(self, index: Tensor) -> None:
        """Keep these members."""
        for name, tensor in self.stack.items():
            self.stack[name] = tensor.detach()[index]
            self.stack[name].requires_grad = tensor.requires_grad
        for moments in (self._first, self._second):
            for name in moments:
                moments[name] = moments[name][index]
        self._steps = self._steps[index]
