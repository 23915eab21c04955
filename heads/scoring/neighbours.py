"""The known video that a scored one resembles most, by the attention-pooled vector's direction."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from features_store.store import Store
from features_store.table import Table
from heads.errors import BadSetting, WrongFeatures
from heads.parts.arrays import ATTN
from heads.scoring.rows import Nearest

BLOCK = 8192
"""Known videos that are compared with at a time."""
_NONE = 2.0
"""Less similar than anything is."""


class Neighbours:
    """All videos of a reference store, in memory; one vector each, the mean of their views."""

    def __init__(self, store: Store, protocol: str) -> None:
        table = store.table([ATTN], protocol=protocol, allow_missing=True)
        self._fingerprint = table.fingerprints[ATTN]
        self._known = _directions(table)
        self._ids = [str(name) for name in table.ids]
        self._places = {name: place for place, name in enumerate(self._ids)}
        self._sources = [str(name) for name in table.sources]

    def of(self, table: Table) -> Nearest:
        """Of every video of a table; itself is no neighbour."""
        if ATTN not in table.arrays:
            raise BadSetting(f"Nearest examples need {ATTN}, which this head does not use.")
        if table.fingerprints[ATTN] != self._fingerprint:
            raise WrongFeatures("The reference store was made by another network than the scored.")
        itself = [self._places.get(str(name), -1) for name in table.ids]
        best, index = self._nearest(_directions(table), torch.tensor(itself))
        return Nearest(
            ids=[self._ids[i] for i in index.tolist()],
            sources=[self._sources[i] for i in index.tolist()],
            similarity=best.numpy(),
        )

    def _nearest(self, vectors: Tensor, itself: Tensor) -> tuple[Tensor, Tensor]:
        """Block by block: similarities to all that is known do not fit into memory at once."""
        best = torch.full((len(vectors),), -_NONE)
        index = torch.zeros(len(vectors), dtype=torch.long)
        if len(self._ids) == 1:
            itself = torch.full_like(itself, -1)
        for start in range(0, len(self._known), BLOCK):
            known = self._known[start : start + BLOCK]
            similar = vectors @ known.T
            rows = torch.nonzero((itself >= start) & (itself < start + len(known))).flatten()
            similar[rows, itself[rows] - start] = -_NONE
            found, at = similar.max(1)
            nearer = found > best
            best = torch.where(nearer, found, best)
            index = torch.where(nearer, at + start, index)
        return best, index

    @staticmethod
    def joined(parts: Sequence[Nearest]) -> Nearest:
        return Nearest(
            ids=[name for part in parts for name in part.ids],
            sources=[name for part in parts for name in part.sources],
            similarity=np.concatenate([part.similarity for part in parts]),
        )


def _directions(table: Table) -> Tensor:
    vectors = torch.from_numpy(table.arrays[ATTN]).float().mean(1)
    return torch.nn.functional.normalize(vectors, dim=-1)
