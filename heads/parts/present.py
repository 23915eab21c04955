"""Rows with fewer frames or views than their protocol's most: which of them are there.

Arrays keep the protocol's fixed shape, and a branch's `present` array beside them says which frames
are there: the first ones. A view of which nothing is there is no result (NaN in a head's
probabilities), and means over views leave it out.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from features_store.table import Table

PRESENT = "present"


def present_key(key: str) -> str:
    """The array that says what is there of another array's branch."""
    return f"{key.partition('/')[0]}/{PRESENT}"


def is_mask(key: str) -> bool:
    return key.endswith(f"/{PRESENT}")


def seen(table: Table, keys: Sequence[str], least: int = 1) -> Table:
    """Without the videos of which nothing, or less than so many frames, is there, as far as the
    keys say so."""
    nothing = _nothing(table, keys, least)
    if nothing is None:
        return table
    there: NDArray[np.bool_] = np.asarray(~nothing.all(axis=1))
    return table.take(there)


def marked(
    table: Table, keys: Sequence[str], probabilities: NDArray[np.float32], least: int = 1
) -> NDArray[np.float32]:
    """Probabilities with NaN for views of which nothing, or too little, is there."""
    nothing = _nothing(table, keys, least)
    if nothing is not None:
        probabilities[nothing] = np.nan
    return probabilities


def _nothing(table: Table, keys: Sequence[str], least: int) -> NDArray[np.bool_] | None:
    """(n, V); None where no key says."""
    masks = [table.arrays[key] for key in keys if is_mask(key)]
    if not masks:
        return None
    found: NDArray[np.bool_] = np.any([mask.astype(bool).sum(-1) < least for mask in masks], axis=0)
    return found


def counted(present_nf: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Views that have equally many frames, together: their rows, and how many frames."""
    counts = present_nf.sum(-1)
    for count in np.unique(counts[counts > 0]).tolist():
        yield np.flatnonzero(counts == count), int(count)
