"""int8 with one scale per channel and video and view: half the bytes of float16.

With scale s = (largest magnitude of the channel over its tokens) / 127, a number comes back at
most s/2 away from where it was, before the rounding to the array's own type.
"""

import numpy as np

from features_store.chunks import Array
from features_store.errors import BadInput

_LEVELS = 127


def quantise(tokens_vtd: Array, where: str) -> tuple[Array, Array]:
    """(…, tokens, channels) → int8 of the same shape, float32 scales (…, channels)."""
    numbers = tokens_vtd.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise BadInput(f"{where}: int8 quantisation of numbers that are not finite.")
    scale = np.abs(numbers).max(axis=-2) / np.float32(_LEVELS)
    divisor = np.where(scale > 0, scale, 1)[..., None, :]
    numbers /= divisor
    np.rint(numbers, out=numbers)
    return numbers.clip(-_LEVELS, _LEVELS).astype(np.int8), scale


def dequantise(numbers: Array, scale: Array, out: Array) -> None:
    for row in range(len(numbers)):  # one video at a time keeps the float32 copy small
        out[row] = numbers[row] * scale[row][..., None, :]
