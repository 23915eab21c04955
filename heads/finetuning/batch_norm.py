"""Batch norms of a network in training: which of them learn, and one statistic over all processes.

A norm of a layer that learns takes the statistics of its batch and moves its running ones; the
others stay as they are. With several processes a batch is what all of them hold, as it would be in
one. Legend: n samples, c channels.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from extract.trainable import Trainable
from heads.finetuning.processes import Processes, summed

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation by the mean and variance over the batches of all processes."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch's name)
        del input

    def forward(self, x_nc: Tensor) -> Tensor:
        if not self.training:
            found: Tensor = super().forward(x_nc)
            return found
        shape = [1, -1] + [1] * (x_nc.ndim - 2)
        numbers_nc = x_nc.float() if x_nc.dtype != torch.float64 else x_nc
        others = [axis for axis in range(x_nc.ndim) if axis != 1]
        count = numbers_nc.new_tensor([numbers_nc.numel() / numbers_nc.shape[1]])
        sums = summed(torch.cat([numbers_nc.sum(others), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total.clamp(min=1)
        variance = summed((numbers_nc - mean.view(shape)).square().sum(others)) / total.clamp(min=1)
        self._follow(mean.detach(), variance.detach(), total)
        normal = (numbers_nc - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(x_nc.dtype)

    def _follow(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        """Move the running statistics; where no process has a sample they stay."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = self.momentum
        if share is None:  # torch's sign for the plain mean of all batches
            share = 1 / float(self.num_batches_tracked)
        moved = share * (total > 0)
        self.running_mean.lerp_(mean, moved)
        self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), moved)


def learning_norms(network: Trainable, first: int, processes: Processes) -> dict[str, _BatchNorm]:
    """By name, those of the layers from `first` on; of several processes, shared ones in their
    place."""
    found = {
        name: module
        for name, module in network.model.named_modules()
        if isinstance(module, _BatchNorm) and network.layer_of(f"{name}.weight") >= first
    }
    if processes.count == 1:
        return found
    return {name: _shared(network.model, name, norm) for name, norm in found.items()}


def running(norms: dict[str, _BatchNorm]) -> Iterator[tuple[str, Tensor]]:
    """Their statistics, live."""
    for name, norm in norms.items():
        for buffer in BUFFERS:
            if (tensor := getattr(norm, buffer)) is not None:
                yield f"{name}.{buffer}", tensor


def why_once(norms: dict[str, _BatchNorm], blocks: Sequence[nn.Module]) -> str | None:
    """Why blocks cannot be computed twice: what is would move its statistics twice. None: they
    can."""
    if not blocks:
        return "this network names no blocks; leave it out."
    inside = {id(module) for block in blocks for module in block.modules()}
    if any(id(norm) in inside for norm in norms.values()):
        return (
            "blocks with batch norms in training cannot be computed twice; leave it out, or give "
            "--set norms=kept."
        )
    return None


def _shared(model: nn.Module, name: str, norm: _BatchNorm) -> _BatchNorm:
    made = SharedBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    made._parameters, made._buffers = norm._parameters, norm._buffers
    where, _, own = name.rpartition(".")
    setattr(model.get_submodule(where), own, made)
    return made
