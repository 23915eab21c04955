"""The released code's way of putting views together, for comparing numbers with it.

Ids are cut at the first dot and then at the first blank, so that different videos may become one;
of each (id, chunk, crop) the first row counts; probabilities are averaged in float32.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ViewRow = Sequence[object]
"""id, chunk, crop, label, logits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """One row per video, in the order of their first rows."""

    ids: list[str]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def official_id(path: str) -> str:
    """What the released code calls a file."""
    name = path.rsplit("/", 1)[-1]
    return name.split(".", 1)[0].split(" ", 1)[0]


def merge_views(rows: Iterable[ViewRow]) -> Merged:
    """Mean probabilities per id; a repeated view is left out."""
    sums: dict[str, list[NDArray[np.float32]]] = {}
    labels: dict[str, int] = {}
    seen = set()
    for video, chunk, crop, label, logits in rows:
        name = str(video)
        if (name, chunk, crop) in seen:
            continue
        seen.add((name, chunk, crop))
        row = np.asarray(logits, np.float32)
        powers = np.exp(row - row.max())
        sums.setdefault(name, []).append(powers / powers.sum())
        labels[name] = int(str(label))
    return Merged(
        ids=list(sums),
        labels=np.array(list(labels.values()), np.int64),
        probabilities=np.stack([np.mean(views, 0, dtype=np.float32) for views in sums.values()]),
    )
