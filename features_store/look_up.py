"""Which row a text is in: by hashes, since a dictionary of a million takes 150 MB."""

from collections.abc import Iterable, Sequence
from itertools import compress

import numpy as np

from features_store.chunks import Array


def rows_of(column: Array, wanted: Sequence[str] | Array) -> Array:
    """The row of each text in a column of different ones; -1 for those that are not there."""
    there, asked = _hashes(column), _hashes(wanted)
    order = np.argsort(there, kind="stable")
    there = there[order]
    if (there[1:] == there[:-1]).any():
        return _exactly(column, wanted)
    places = np.minimum(np.searchsorted(there, asked), max(len(there) - 1, 0))
    hit = there[places] == asked if len(there) else np.zeros(len(asked), bool)
    found = np.full(len(asked), -1, np.int64)
    found[hit] = order[places[hit]]
    pairs = zip(column[found[hit]], compress(wanted, hit), strict=True)
    return found if all(a == b for a, b in pairs) else _exactly(column, wanted)


def _hashes(texts: Iterable[str]) -> Array:
    return np.fromiter(map(hash, texts), np.int64)


def _exactly(column: Array, wanted: Iterable[str]) -> Array:
    """Where two texts have one hash."""
    rows = {text: row for row, text in enumerate(column)}
    return np.array([rows.get(text, -1) for text in wanted], np.int64)
