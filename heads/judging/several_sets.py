"""A mean AUC over several sets of videos that share some: generators, each with the same reals.

Videos of one set and seeds vary as in `two_way`; a video that is in several sets counts in each, so
what it does to the mean is added up before its variance is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heads.judging.two_way import MINIMUM_SEEDS, Spread, value_of
from heads.measuring.intervals import class_variance, influence, too_few
from heads.measuring.metrics import Floats, Labels
from heads.measuring.tests import Room

_METRIC = "auc"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSet:
    """What was said of one set's videos."""

    runs: Sequence[Floats]
    """Each seed's (n, 2)."""
    others: Sequence[Floats] | None
    """The same of what it is compared with; None: with nothing."""
    labels: Labels
    rows: NDArray[np.int64]
    """Which videos they are."""

    def values(self) -> Floats:
        """Each seed's number."""
        found = np.array([value_of(_METRIC, run, self.labels) for run in self.runs])
        if self.others is None:
            return found
        return found - [value_of(_METRIC, run, self.labels) for run in self.others]

    def parts(self) -> Floats:
        """(seeds, n): each video's influence on it."""
        found = np.stack([influence(run, self.labels) for run in self.runs])
        if self.others is None:
            return found
        return np.asarray(found - np.stack([influence(run, self.labels) for run in self.others]))


def mean_over(sets: Sequence[VideoSet], names: Sequence[str], shared: int) -> Spread:
    """The mean over sets with their names; videos with the label `shared` may be in several."""
    videos = np.unique(np.concatenate([one.rows for one in sets]))
    seeds = len(sets[0].runs)
    parts, strata = np.zeros((seeds, len(videos))), np.zeros(len(videos), np.int64)
    for number, one in enumerate(sets):
        place = np.searchsorted(videos, one.rows)
        parts[:, place] += one.parts() / len(sets)
        strata[place] = np.where(one.labels == shared, 0, number + 1)
    values = np.mean([one.values() for one in sets], 0)
    mean = parts.mean(0)
    by_videos, by_seeds = float(class_variance(mean, strata).sum()), 0.0
    if seeds > 1:
        both = sum(float(class_variance(part - mean, strata).sum()) for part in parts) / (seeds - 1)
        by_seeds = max(float(np.var(values, ddof=1)) - both, 0.0) / seeds
    why = too_few((strata == 0).astype(np.int64), ["generated", "real"])
    single = [name for number, name in enumerate(names) if (strata == number + 1).sum() < 2]
    if not why and single:
        why = f"1 video of {', '.join(single)}"
    if not why and seeds < MINIMUM_SEEDS:
        why = f"{seeds} seeds; {MINIMUM_SEEDS} or more are needed"
    error = float(np.sqrt(by_videos))
    return Spread(
        value=float(values.mean()), videos=len(videos), seeds=seeds, by_videos=by_videos,
        by_seeds=by_seeds, room=Room(error, error), why=why,
        least=0.0 if sets[0].others is None else -1.0,
    )  # fmt: skip
