"""Random beginnings and random leaving out, the same for the same seed whatever else is running."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


def drawn(seed: int, make: Callable[[], Made]) -> Made:
    """What `make` makes with torch's own random beginnings; the process's generator is left as it
    was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class Dropped:
    """What is left out of a training step, from a generator of its own; on the CPU, so that every
    device leaves out the same."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._generator = torch.Generator().manual_seed(seed)

    def factors(self, shape: int | tuple[int, ...], device: torch.device) -> Tensor | None:
        """0 for what is left out; what is kept makes up for it. None if nothing ever is."""
        if not self._share:
            return None
        size = (shape,) if isinstance(shape, int) else shape
        kept = torch.rand(size, generator=self._generator) >= self._share
        return (kept / (1 - self._share)).to(device)
