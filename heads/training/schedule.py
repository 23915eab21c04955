"""The learning rate of every step: a linear warm-up, then a cosine, as the released code has it.

The ramp includes both of its ends; the cosine stops one step short of its end.
"""

import numpy as np
from numpy.typing import NDArray

from heads.errors import BadSetting


def cosine_schedule(
    peak: float, low: float, steps: int, warmup: int, warmup_start: float
) -> NDArray[np.float64]:
    """One rate a step."""
    if not 0 <= warmup <= steps or steps < 1:
        raise BadSetting(f"{warmup} warm-up steps of {steps}: give 0 up to the number of steps.")
    ramp = np.linspace(warmup_start, peak, warmup)
    position = np.arange(steps - warmup) / max(steps - warmup, 1)
    return np.concatenate([ramp, low + 0.5 * (peak - low) * (1 + np.cos(np.pi * position))])
