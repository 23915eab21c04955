"""Pairs of a real and a generated video that are alike in duration, rate and size.

Where generated videos are shorter than real ones, a head that only looks at length looks good. On
pairs that are alike in these facts it has to look at something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from features_store import facts
from features_store.store import Store
from heads.errors import BadTable
from heads.measuring.metrics import REAL

ALIKE = ("duration", "fps", "width", "height")
TOLERANCE = 0.03
"""Two numbers are alike when the larger is at most so much larger. What is left inside it may still
tell: the floor of facts alone, taken on the pairs, says whether it does."""
FEWEST = 10
_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Positions among the videos given, pair by pair."""

    real: NDArray[np.int64]
    generated: NDArray[np.int64]
    reals: int
    """How many there were to choose from."""
    others: int

    def __len__(self) -> int:
        return len(self.real)

    @property
    def rows(self) -> NDArray[np.int64]:
        """All videos that are in a pair, in their order."""
        return np.sort(np.concatenate([self.real, self.generated]))

    def __str__(self) -> str:
        return (
            f"{len(self)} pairs alike in {', '.join(ALIKE)} (within {TOLERANCE:.0%}), out of "
            f"{self.reals} real and {self.others} generated videos"
        )


def matched(
    store: Store, rows: NDArray[np.int64], labels: NDArray[np.integer], classes: Sequence[str]
) -> Pairs:
    """As many pairs as there can be; each video is in one at most."""
    if REAL not in classes:
        raise BadTable(f"Pairs need a class {REAL!r}; there are {', '.join(classes)}.")
    known = facts.read(store)
    logs = np.log(np.stack([known[name][rows] for name in ALIKE], 1).astype(np.float64))
    real = labels == list(classes).index(REAL)
    left, right = np.flatnonzero(real), np.flatnonzero(~real)
    graph = _alike(logs[left], logs[right])
    partner = maximum_bipartite_matching(graph, perm_type="column").astype(np.int64)
    paired = partner >= 0
    if paired.sum() < FEWEST:
        raise BadTable(
            f"Only {int(paired.sum())} of {len(left)} real and {len(right)} generated videos make "
            f"pairs that are alike in {', '.join(ALIKE)}; {FEWEST} are needed. These sets cannot "
            f"be compared without what their files give away."
        )
    return Pairs(
        real=left[paired], generated=right[partner[paired]], reals=len(left), others=len(right)
    )


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> coo_array:
    """Who may be paired with whom; what is not known is like nothing."""
    bound = np.log1p(TOLERANCE) + 1e-9
    places = [np.empty((2, 0), np.int64)]
    for start in range(0, len(a), _ROWS):
        near = (np.abs(a[start : start + _ROWS, None] - b[None]) <= bound).all(2)
        i, j = np.nonzero(near)
        places.append(np.stack([i + start, j]))
    i, j = np.concatenate(places, 1)
    return coo_array((np.ones(len(i), bool), (i, j)), shape=(len(a), len(b))).tocsr()
