"""The versions of a network's weights that training keeps: the best, and a running average."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from heads.finetuning.checkpoints import copy_into
from heads.finetuning.net import FinetuneNet
from heads.finetuning.sharding import share_of

State = dict[str, Tensor]


class Versions:
    """Beside the live weights, of which they are copies."""

    def __init__(self, net: FinetuneNet, ema: float) -> None:
        self._net, self._ema = net, ema
        self.best: State = {}
        self._average = self._copy() if ema else None

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average towards the live weights; counts are taken as they are."""
        if self._average is None:
            return
        for name, tensor in self._net.learnt().items():
            if tensor.is_floating_point():
                self._average[name].lerp_(tensor, 1 - self._ema)
            else:
                self._average[name].copy_(tensor)

    def keep(self) -> None:
        """What is in the network now is the best."""
        self.best = self._copy()

    def restore_best(self) -> None:
        copy_into(self._net.learnt(), self.best)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The running average in the network's place, if there is one."""
        if self._average is None:
            yield
            return
        live = self._copy()
        copy_into(self._net.learnt(), self._average)
        yield
        copy_into(self._net.learnt(), live)

    def state(self) -> dict[str, State]:
        """For a checkpoint."""
        return {"live": self._net.learnt(), "best": self.best, "average": self._average or {}}

    def restore(self, found: Mapping[str, State]) -> None:
        live = self._net.learnt()
        copy_into(live, found["live"])
        if self._average is not None:
            copy_into(self._average, found["average"])
        self.best = {name: share_of(tensor, live[name]) for name, tensor in found["best"].items()}

    def _copy(self) -> State:
        return {name: tensor.detach().clone() for name, tensor in self._net.learnt().items()}
