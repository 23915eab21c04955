"""Labels from prior scores: the paper's equations 1 and 2, and the split that follows from them.

Inside one generator each score ranks its videos, 1 for the most anomalous; equal scores share
their mean rank. A video's label is the score that ranks it highest (the smallest of its ranks),
and its normalised rank is that rank divided by the number of ranked videos. Per generator and
class the top fifth is for validation, the rest for training. Where two scores rank a video equally
high, the one named first in `PRIORS` wins, and the tie is reported.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.manifest.ranks import rank_scores

PRIORS = ("spatial", "appearance", "motion")
"""The paper's order; each is the name of a class, and of the branch that scores it."""
REAL = "real"
CLASSES = (*PRIORS, REAL)
VALIDATION_SHARE = 0.2
MULTI_SHARE = 0.2
"""A video that several scores rank among their top fifth shows several anomalies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """What the scores of one video say."""

    ranks: Mapping[str, float]
    """Per prior, 1…n inside the generator."""
    count: int
    """n: the generator's ranked videos."""

    @property
    def proposed(self) -> str:
        """Equations 1 and 2: the prior of the smallest rank."""
        return min(PRIORS, key=lambda prior: self.ranks[prior])

    @property
    def tied(self) -> tuple[str, ...]:
        """Priors that rank it equally high; empty when one alone does."""
        best = min(self.ranks.values())
        first = tuple(prior for prior in PRIORS if self.ranks[prior] == best)
        return first if len(first) > 1 else ()

    @property
    def also(self) -> tuple[str, ...]:
        """Other priors that rank it among their top fifth, as the proposed one does."""
        limit = MULTI_SHARE * self.count
        top = tuple(prior for prior in PRIORS if self.ranks[prior] <= limit)
        return tuple(prior for prior in top if prior != self.proposed) if len(top) > 1 else ()

    @property
    def doubt(self) -> float:
        """1 where two priors are as good as tied, 0 where the best is far ahead of the next."""
        best, second = sorted(self.ranks.values())[:2]
        return 1 - (second - best) / max(self.count - 1, 1)

    def normalised(self, label: str) -> float:
        """r/n of a label; NaN for real videos, which have none."""
        return math.nan if label == REAL else self.ranks[label] / self.count


def rank_generators(
    scores: Mapping[str, NDArray[np.float64]], sources: Sequence[str]
) -> list[Ranked]:
    """Rank videos inside their generators; `scores` has a column for each prior."""
    names = sorted(set(sources))
    groups = [names.index(source) for source in sources]
    counts = np.bincount(groups, minlength=len(names)) if groups else np.zeros(0, np.int64)
    columns = {prior: rank_scores(scores[prior].tolist(), groups) for prior in PRIORS}
    return [
        Ranked(
            ranks={prior: _place(columns[prior][row], int(counts[group])) for prior in PRIORS},
            count=int(counts[group]),
        )
        for row, group in enumerate(groups)
    ]


def _place(part: float, count: int) -> float:
    """The rank of a normalised one: a whole or, where an even number share it, a half."""
    return round(2 * part * count) / 2


def split_generated(
    ids: Sequence[str], sources: Sequence[str], labels: Sequence[str], ranks: Sequence[float]
) -> list[str]:
    """`val` for the best-ranked fifth of each generator's class, `train` for the rest.

    Equal ranks go by id, so that the order of the rows does not matter. A class of one generator
    with fewer than three videos keeps them all for training.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(sources, labels, strict=True)):
        groups.setdefault(key, []).append(row)
    splits = ["train"] * len(ids)
    for rows in groups.values():
        ordered = sorted(rows, key=lambda row: (ranks[row], ids[row]))
        for row in ordered[: round(VALIDATION_SHARE * len(rows))]:
            splits[row] = "val"
    return splits


def split_real(video_id: str) -> str:
    """One video in five, by its id alone: more videos never move others."""
    digest = hashlib.sha256(video_id.encode("utf-8", "surrogatepass")).digest()
    return "val" if int.from_bytes(digest[:8]) < VALIDATION_SHARE * 2**64 else "train"
