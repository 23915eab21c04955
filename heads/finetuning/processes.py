"""Several processes that train one network: their number, and batch statistics over all of them.

`torchrun` sets the environment; without it there is one process. Plain torch.distributed: nccl on
GPUs, gloo on CPUs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from heads.parts.fusion_net import BATCH_NORM_MOMENTUM, BatchStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """How many there are, and which this one is."""

    count: int = 1
    rank: int = 0
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """The one that writes files and speaks."""
        return self.rank == 0

    def total(self, numbers: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            numbers = numbers.to(self.device)
            distributed.all_reduce(numbers)
        return numbers.cpu()

    def least(self, number: float) -> float:
        """The smallest that any process has."""
        if self.count == 1:
            return number
        found = torch.tensor(number, dtype=torch.float64, device=self.device)
        distributed.all_reduce(found, distributed.ReduceOp.MIN)
        return float(found)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """All processes that torchrun started, or this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(device=device)
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        found = Processes(count=count, rank=distributed.get_rank(), device=device)
        yield found
        found.wait()  # one that leaves early takes the others' connections along
    finally:
        distributed.destroy_process_group()


class _Sum(torch.autograd.Function):
    """What every process has, added up; each process's gradient is the sum of all of theirs."""

    @staticmethod
    def forward(_context: object, numbers: Tensor) -> Tensor:
        numbers = numbers.clone()
        distributed.all_reduce(numbers)
        return numbers

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        distributed.all_reduce(gradient)
        return gradient


def summed(numbers: Tensor) -> Tensor:
    """The sum over all processes, with gradients."""
    found: Tensor = _Sum.apply(numbers)  # type: ignore[no-untyped-call]
    return found


class SharedStatistics(BatchStatistics):
    """Mean and variance over the batches of all processes, as if they were one."""

    def of(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        flat = pairs.reshape(-1, pairs.shape[-1])
        ones = torch.full((1,), float(len(flat)), device=flat.device)
        sums = summed(torch.cat([flat.sum(0), ones]))
        count, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
        variance = summed((flat - mean).square().sum(0)) / count
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self._state["down_norm.running_mean"].lerp_(mean.detach(), BATCH_NORM_MOMENTUM)
        self._state["down_norm.running_var"].lerp_(unbiased.detach(), BATCH_NORM_MOMENTUM)
        return mean, variance
