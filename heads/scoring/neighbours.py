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


class Neighbours:
    """All videos of a reference store, in memory; one vector each, the mean of their views."""

    def __init__(self, store: Store, protocol: str) -> None:
        table = store.table([ATTN], protocol=protocol, allow_missing=True)
        self._fingerprint = table.fingerprints[ATTN]
        self._known = _directions(table)
        self._ids = [str(name) for name in table.ids]
        self._sources = [str(name) for name in table.sources]

    def of(self, table: Table) -> Nearest:
        """Of every video of a table; itself is no neighbour."""
        if ATTN not in table.arrays:
            raise BadSetting(f"Nearest examples need {ATTN}, which this head does not use.")
        if table.fingerprints[ATTN] != self._fingerprint:
            raise WrongFeatures("The reference store was made by another network than the scored.")
        similar = _directions(table) @ self._known.T
        places = {name: place for place, name in enumerate(self._ids)}
        for row, name in enumerate(table.ids):
            place = places.get(str(name))
            if place is not None and len(self._ids) > 1:
                similar[row, place] = -2.0
        best, index = similar.max(1)
        return Nearest(
            ids=[self._ids[i] for i in index.tolist()],
            sources=[self._sources[i] for i in index.tolist()],
            similarity=best.numpy(),
        )

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
