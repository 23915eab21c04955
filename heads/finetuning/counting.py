"""What passes of a network take of memory, there and back, counted without going back.

Counted is what autograd would keep of a forward pass until it has gone back: each storage once, for
two samples and for three, so that what grows with samples is told from what does not. Hooks look at
the tensors and let them go: counting takes no more memory than judging. What is in passing on the
way back is taken to be a quarter of what the largest block keeps; `bench_finetune_memory` holds all
of it against what is allocated. Weights are there anyway and not counted.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from heads.finetuning.net import FinetuneNet
from heads.finetuning.sharding import own_part

_COUNTED = (2, 3)
"""Samples; a batch norm takes no single one."""
_PASSING = 0.25
"""Of a block, on the way back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Bytes."""

    fixed: int
    each: int
    """More for every sample."""

    def of(self, samples: int) -> int:
        return self.fixed + samples * self.each

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(fixed=self.fixed + other.fixed, each=self.each + other.each)

    def share(self, part: float) -> "Taken":
        return Taken(fixed=round(self.fixed * part), each=round(self.each * part))

    @staticmethod
    def through(first: int, second: int) -> "Taken":
        """What was counted of both numbers of samples."""
        low, high = _COUNTED
        each = (second - first) // (high - low)
        return Taken(fixed=first - low * each, each=each)


class Passes:
    """Of one network; `forward` makes a pass of so many samples."""

    def __init__(self, net: FinetuneNet, forward: Callable[[int], object]) -> None:
        self._net, self._forward = net, forward
        net.twice, net.parts = False, 1
        kept, self._block, self.head = self._counted()
        self._take = {False: kept + self._block.share(_PASSING)}

    def take(self, *, twice: bool) -> Taken:
        """Of blocks that are computed twice their inputs are kept, and one block at a time. The
        network is left so that it does what was asked about."""
        self._net.twice = twice
        if twice not in self._take:
            self._take[twice] = self._counted()[0] + self._block.share(1 + _PASSING)
        return self._take[twice]

    def twice_is_less(self) -> bool:
        """It is not where hardly a block learns."""
        return self.take(twice=True).each < self.take(twice=False).each

    def _counted(self) -> tuple[Taken, Taken, Taken]:
        """What all of a pass keeps, the block that keeps most, and the head."""
        two, three = (self._pass(samples) for samples in _COUNTED)
        whole, block, head = (Taken.through(*both) for both in zip(two, three, strict=True))
        return whole, block, head

    def _pass(self, samples: int) -> tuple[int, int, int]:
        """As in training; statistics of batches leave no trace."""
        counter, starts, kept = Counter(self._net), list[int](), [0]
        hooks = [
            hook
            for module in (*self._net.network.blocks, self._net.head)
            for hook in (
                module.register_forward_pre_hook(lambda *_: starts.append(counter.bytes)),
                module.register_forward_hook(lambda *_: kept.append(counter.bytes - starts[-1])),
            )
        ]
        statistics = [each for each in self._net.learnt().values() if not each.requires_grad]
        before = [each.clone() for each in statistics]
        self._net.train()
        try:
            with counter.counting():
                self._forward(samples)
        finally:
            for hook in hooks:
                hook.remove()
            for each, old in zip(statistics, before, strict=True):
                each.copy_(old)
        *blocks, head = kept
        return counter.bytes, max(blocks), head


class Counter:
    """Of storages that autograd would keep; each counts once, and none is kept."""

    def __init__(self, net: nn.Module) -> None:
        self.bytes = 0
        self._sizes: dict[int, int] = {}
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in (*net.parameters(), *net.buffers()):
            self._see(own_part(tensor))
        self.bytes = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        with saved_tensors_hooks(self._see, lambda nothing: nothing):
            yield
        for key, alive in list(self._alive.items()):
            storage = alive()
            if storage is not None and not storage.nbytes():  # a block put together and let go
                self.bytes -= self._sizes[key]

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._alive:
            return
        self._alive[key] = weakref.ref(storage, lambda _: self._alive.pop(key, None))
        self._sizes[key] = storage.nbytes()
        self.bytes += storage.nbytes()
