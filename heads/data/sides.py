"""Videos on different sides: those that teach, decide when to stop, and judge."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features_store.table import Table

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What a head is trained on."""

    train: Table
    validation: Table
    stopping: Table | None = None
    """Decides when training stops, in place of the validation videos, which then only judge."""

    @property
    def deciding(self) -> Table:
        """What a fit is told to decide by."""
        return self.validation if self.stopping is None else self.stopping

    def __str__(self) -> str:
        what, stops = "decide by", ""
        if self.stopping is not None:
            what, stops = "judge by", f"{len(self.stopping)} to stop by, "
        return (
            f"{len(self.train)} videos to learn from ({self.train.protocol}), {stops}"
            f"{len(self.validation)} to {what} ({self.validation.protocol})"
        )


def by_id(ids: NDArray[np.generic], share: float) -> Mask:
    """About that share of the videos, by a hash of their ids."""
    mask: Mask = id_hashes(ids) < share
    return mask


def id_hashes(ids: NDArray[np.generic]) -> NDArray[np.float64]:
    """A number in [0, 1) per id."""
    first = [hashlib.sha256(str(video).encode()).digest()[:8] for video in ids]
    return np.array([int.from_bytes(part) for part in first], np.float64) / 2**64
