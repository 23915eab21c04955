"""Ranks from raw anomaly scores: the place inside the class, divided by the class's size.

HFV's confidence column is such a rank: small means more obvious. Ties share their mean place, so
the result does not depend on the order of the rows.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from extract.errors import BadSetting
from extract.manifest.manifest import Video

OBVIOUS = ("high", "low")


def rank_scores(
    scores: Sequence[float], labels: Sequence[int], *, obvious: str = "high"
) -> list[float]:
    """Rank r/n of each score inside its label's group, r in 1…n; NaN stays NaN.

    `obvious` says which scores are the obvious anomalies: they get the small ranks.
    """
    if obvious not in OBVIOUS:
        raise BadSetting(f"obvious={obvious!r} unknown; have: {', '.join(OBVIOUS)}.")
    values = np.asarray(scores, np.float64)
    groups = np.asarray(labels)
    if obvious == "high":
        values = -values
    ranks = np.full(len(values), math.nan)
    for label in np.unique(groups):
        rows = np.flatnonzero((groups == label) & ~np.isnan(values))
        _, place, counts = np.unique(values[rows], return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        ranks[rows] = (last - (counts - 1) / 2)[place] / max(len(rows), 1)
    return [float(rank) for rank in ranks]


def with_ranks(videos: Sequence[Video], *, obvious: str = "high") -> list[Video]:
    """The same videos, ranked by their scores inside each class."""
    if all(math.isnan(video.score) for video in videos):
        raise BadSetting("No video has a score; give a table with a column 'score'.")
    ranks = rank_scores(
        [video.score for video in videos], [video.label for video in videos], obvious=obvious
    )
    return [replace(video, rank=rank) for video, rank in zip(videos, ranks, strict=True)]
