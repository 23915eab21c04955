"""The learning rate of every step: a linear warm-up, then a cosine, in three released forms.

HumanSAM's ramp includes both of its ends, and its cosine begins where the ramp ends and stops one
step short of its end. The other two count the cosine from the first step, so that the warm-up
covers its beginning and the peak is never reached.
"""

import numpy as np
from numpy.typing import NDArray

from heads.errors import BadSetting


def cosine_schedule(
    peak: float, low: float, steps: int, warmup: int, warmup_start: float
) -> NDArray[np.float64]:
    """One rate a step, as HumanSAM's code has it."""
    _check(steps, warmup)
    ramp = np.linspace(warmup_start, peak, warmup)
    position = np.arange(steps - warmup) / max(steps - warmup, 1)
    return np.concatenate([ramp, low + 0.5 * (peak - low) * (1 + np.cos(np.pi * position))])


def timm_schedule(
    peak: float, low: float, steps: int, warmup: int, warmup_start: float
) -> NDArray[np.float64]:
    """As timm's scheduler without its warm-up prefix has it where it is told of a step after the
    optimiser took it: the first rate comes twice. `low` and `warmup_start` are no layer's share."""
    _check(steps, warmup)
    time = np.maximum(np.arange(steps) - 1, 0).astype(np.float64)
    ramp = warmup_start + time * (peak - warmup_start) / max(warmup, 1)
    return np.where(
        time < warmup, ramp, low + (peak - low) * (1 + np.cos(np.pi * time / steps)) / 2
    )


def slowfast_schedule(
    peak: float, steps: int, warmup: int, warmup_start: float
) -> NDArray[np.float64]:
    """As SlowFast has it: the warm-up rises to where the cosine is when it ends; down to 0."""
    _check(steps, warmup)
    time = np.arange(steps, dtype=np.float64)
    cosine = peak * (np.cos(np.pi * time / steps) + 1) / 2
    target = peak * (np.cos(np.pi * warmup / steps) + 1) / 2
    ramp = warmup_start + time * (target - warmup_start) / max(warmup, 1)
    return np.where(time < warmup, ramp, cosine)


def _check(steps: int, warmup: int) -> None:
    if not 0 <= warmup <= steps or steps < 1:
        raise BadSetting(f"{warmup} warm-up steps of {steps}: give 0 up to the number of steps.")
