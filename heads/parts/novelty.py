"""How far a video lies from everything that a head learnt from: unknown generators, drift.

The distance is Mahalanobis', with the covariance of probabilistic PCA: the training videos'
standardised features vary along a few directions by a variance each, and in all others alike. A
fifth of the training videos is kept out of the fit; their distances are the scale, for a fitted
video lies nearer than any new one. Where there are many sources a fifth of those is kept out, for
videos of one place are alike. What is far need not be wrong, and what is near may be.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features_store.table import Table
from heads.data.sides import by_id
from heads.head import Head
from heads.measuring.metrics import Floats, has_result
from heads.parts.arrays import DEPTH, matrix
from heads.parts.present import is_mask, present_key, seen

DIRECTIONS = 64
FEWEST = 40
"""Videos to learn from, below which there is no distance."""
FEWEST_SOURCES = 20
_KEPT_OUT = 0.2
_MOST_FITTED = 4_000
_QUANTILES = 101
_BINS = 10
_SAMPLED = 256
"""Videos of a part that are looked at."""
FEWEST_SCORED = 20
_TINY = 1e-6
_PER_VIEW, _PER_FRAME = 3, 4
"""Dimensions of arrays that have a vector for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiar:
    """What the training videos' features and verdicts look like."""

    mean: Tensor
    scale: Tensor
    directions: Tensor
    """(r, d): along which training videos vary most."""
    variances: Tensor
    """(r) of them, and (1) of each direction that is left."""
    rest: Tensor
    distances: Tensor
    """Quantiles 0, 0.01, … 1 of the distances of training videos that were kept out."""
    verdicts: Tensor
    """(classes, bins): how often the deciding videos, or those that calibrated, were given a
    probability of each size; zeros: there were none."""

    def distance(self, vectors_nd: Tensor) -> NDArray[np.float64]:
        """Mean square of the deviations, each by what is usual: about 1 for a known video."""
        z_nd = (vectors_nd.float() - self.mean) / self.scale
        along_nr = z_nd @ self.directions.T
        outside_n = (z_nd.square().sum(1) - along_nr.square().sum(1)).clamp(min=0)
        total = (along_nr.square() / self.variances).sum(1) + outside_n / self.rest
        return (total / z_nd.shape[1]).double().numpy()

    def farther(self, distances: NDArray[np.float64], share: float = 0.05) -> NDArray[np.bool_]:
        """Which lie farther than all but this share of the videos that were kept out."""
        place = round((1 - share) * (_QUANTILES - 1))
        return distances > float(self.distances[place])

    def unlike(self, head: Head, table: Table) -> NDArray[np.float32]:
        """Of the videos that were kept out, the share that lies nearer than each of these."""
        found = vectors(head, table)
        assert found is not None  # as when this was made
        nearer = np.searchsorted(self.distances.double().numpy(), self.distance(found))
        return np.asarray(np.minimum(nearer / (_QUANTILES - 1), 1), np.float32)

    def tensors(self) -> dict[str, Tensor]:
        """By name, for a file."""
        return {name: getattr(self, name) for name in self.__slots__}

    @staticmethod
    def of_tensors(tensors: Mapping[str, Tensor]) -> "Familiar":
        return Familiar(**tensors)


def vectors(head: Head, table: Table) -> Tensor | None:
    """A vector per video, its views averaged, and its frames where `present` says which are there:
    (n, d). None where a head reads tokens or pictures."""
    for key in head.keys:
        if key not in table.arrays:
            return None
        frames = table.arrays[key].ndim == _PER_FRAME and present_key(key) in head.keys
        if not (is_mask(key) or key == DEPTH or table.arrays[key].ndim == _PER_VIEW or frames):
            return None
    return matrix(table, head.keys).mean(1)


def familiar(head: Head, table: Table, means: Floats) -> Familiar | None:
    """From the table that a head learnt from, and what it says of others: `means` are (n, C) of
    videos that it did not learn from, for it is surer of those that it did."""
    table = seen(table, head.keys)
    found = vectors(head, table)
    if found is None or len(table) < FEWEST:
        return None
    sources = len(set(table.sources.tolist()))
    by = table.sources if sources >= FEWEST_SOURCES else table.ids
    # Not the hash that splits off the deciding videos, which are gone from here.
    names = np.array([f"kept out {name}" for name in by], np.dtypes.StringDType())
    out = by_id(names, _KEPT_OUT)
    if not 0 < out.sum() < len(out) - 2:
        return None
    fitted = found[torch.from_numpy(~out)][:_MOST_FITTED]
    mean, scale = fitted.mean(0), fitted.std(0).clamp(min=_TINY)
    z_nd = (fitted - mean) / scale
    most = min(DIRECTIONS, len(fitted) // 4, z_nd.shape[1] - 1)
    _, values, directions = torch.linalg.svd(z_nd, full_matrices=False)
    spread = values.square() / (len(fitted) - 1)
    left = (spread.sum() - spread[:most].sum()) / (z_nd.shape[1] - most)
    blank = Familiar(
        mean=mean, scale=scale, directions=directions[:most].contiguous(),
        variances=spread[:most].clamp(min=_TINY), rest=left.clamp(min=_TINY).reshape(1),
        distances=torch.zeros(_QUANTILES), verdicts=histogram(means),
    )  # fmt: skip
    usual = blank.distance(found[torch.from_numpy(out)])
    quantiles = np.quantile(usual, np.linspace(0, 1, _QUANTILES))
    return Familiar(**{**blank.tensors(), "distances": torch.from_numpy(quantiles).float()})


def histogram(means: Floats) -> Tensor:
    """(classes, bins): shares of videos by the probability that each class was given."""
    means = np.asarray(means)[has_result(np.asarray(means))]
    place = np.minimum((means * _BINS).astype(int), _BINS - 1)
    counts = [np.bincount(column, minlength=_BINS) for column in place.T]
    return torch.from_numpy(np.stack(counts) / max(len(place), 1)).float()


def stability_index(before: Tensor, after: Tensor) -> float:
    """The population stability index, the largest over classes: below 0.1 little has changed, above
    0.25 much has. Empty bins count as a hundredth of a percent."""
    a, b = (shares.clamp(min=1e-4) for shares in (before, after))
    return float(((b - a) * (b / a).log()).sum(1).max())


class Drift:
    """An archive against what was learnt from, part by part."""

    def __init__(self, known: Familiar) -> None:
        self.known = known
        self.videos = 0
        self._far = 0
        self._sums = torch.zeros_like(known.verdicts)

    def add(self, head: Head, table: Table, means: Floats) -> None:
        """A part's features and verdicts; videos without a verdict do not count."""
        judged = has_result(means)
        if not judged.any():
            return
        table, means = table.take(judged), means[judged]
        step = -(-len(table) // _SAMPLED)  # enough to say a share; all would slow scoring down
        table, means = table.take(slice(None, None, step)), means[::step]
        found = vectors(head, table)
        if found is None:
            return
        self.videos += len(table)
        self._far += int(self.known.farther(self.known.distance(found)).sum())
        self._sums += histogram(means) * len(table)

    @property
    def enough(self) -> bool:
        """To say a share of."""
        return self.videos >= FEWEST_SCORED

    def line(self) -> str:
        """What a reader of the scores should know."""
        if not self.enough:
            return f"drift: {self.videos} videos are too few to tell, {FEWEST_SCORED} are needed"
        share, index, verdicts = self._far / self.videos, 0.0, ""
        if self.known.verdicts.any():
            index = stability_index(self.known.verdicts, self._sums / self.videos)
            verdicts = f"; verdicts' stability index {index:.2f} (0.1 little, 0.25 much)"
        words = "much" if index > 0.25 or share > 0.25 else "some" if index > 0.1 else "little"
        return (
            f"drift: {words}; {share:.1%} of {self.videos:,} videos looked at lie farther from "
            f"what was learnt than 95% of it lies (5% expected){verdicts}"
        )
