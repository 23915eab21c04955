"""How many members a population has places for."""

from collections.abc import Mapping

import torch

from heads.parts.space import Space
from heads.zoo.fusion import FusionConfig

LARGEST = 256
_SHARE_OF_FREE_MEMORY = 0.6


def population_size(device: str, columns: int, hidden: int, batch: int) -> int:
    """As many as fit in 60% of the device's free memory; 1 on a CPU."""
    if torch.device(device).type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    member = 4 * (6 * columns * hidden + 8 * batch * columns)  # parameter, gradient, moments, best
    return int(max(1, min(LARGEST, free * _SHARE_OF_FREE_MEMORY // member)))


def largest(name: str, fixed: Mapping[str, str], space: Space) -> int:
    """Of a fusion head's setting that is a whole number, in all trials."""
    if name in fixed:
        return int(fixed[name])
    searched = space.get(name)
    return int(getattr(FusionConfig(), name) if searched is None else searched.high)
