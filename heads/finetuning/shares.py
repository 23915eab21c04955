"""How an epoch is cut into batches, and a batch into parts and over processes."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heads.errors import BadTable
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.processes import Processes


def step_slices(samples: int, batch: int, shares: int) -> list[slice]:
    """Parts of an epoch. What is left over joins the last one if it is too little to be shared."""
    starts = list(range(0, samples, batch))
    if len(starts) > 1 and samples - starts[-1] < max(2, shares):
        starts.pop()
    if samples - starts[-1] < shares:
        raise BadTable(f"{samples} samples cannot be shared by {shares} parts of a batch.")
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], samples], strict=True)]


def most_samples(samples: int, config: FinetuneConfig, shares: int) -> int:
    """That a process ever has before it at once, of an epoch of so many."""
    longest: int = max(
        part.stop - part.start for part in step_slices(samples, config.batch, shares)
    )
    if config.mixes:
        return 2 * math.ceil(math.ceil(longest / 2) / shares)
    return math.ceil(longest / shares)


def fewest_samples(part: slice, config: FinetuneConfig, processes: Processes) -> int:
    """That any process has before it at once, of this batch."""
    everyone = (replace(processes, rank=rank) for rank in range(processes.count))
    return min(len(own) for each in everyone for own in own_shares(part, config, each))


def own_shares(
    part: slice, config: FinetuneConfig, processes: Processes
) -> list[NDArray[np.int64]]:
    """This process's samples of every part of a batch; those that are mixed stay together."""
    count = config.parts * processes.count
    places = np.arange(part.start, part.stop)
    if config.mixes:
        pairs = np.array_split(np.arange((len(places) + 1) // 2), count)
        parts = [places[np.unique([own, len(places) - 1 - own])] for own in pairs]
    else:
        parts = np.array_split(places, count)
    return parts[processes.rank :: processes.count]
