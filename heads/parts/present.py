"""Rows with fewer frames or views than their protocol's most: which of them are there.

Arrays keep the protocol's fixed shape, and a branch's `present` array beside them says which frames
are there: the first ones. A view of which nothing is there is no result (NaN in a head's
probabilities), and means over views leave it out.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

PRESENT = "present"


def present_key(key: str) -> str:
    """The array that says what is there of another array's branch."""
    return f"{key.partition('/')[0]}/{PRESENT}"


def counted(present_nf: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Views that have equally many frames, together: their rows, and how many frames."""
    counts = present_nf.sum(-1)
    for count in np.unique(counts[counts > 0]).tolist():
        yield np.flatnonzero(counts == count), int(count)
