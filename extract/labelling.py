"""From prior scores to labels, ranks and splits: how HFV was made.

Inside each generator every score ranks all videos; the score that ranks a video most anomalous
names its anomaly (the paper's equations 1 and 2). A class's videos are then ranked by that score,
r/n: the first fifth is for validation, the rest for training. Real videos are sampled by a hash
of their id, so that adding videos moves none. Nothing here looks at pictures.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from extract.errors import BadSetting
from extract.labels import SCHEMES
from extract.prior import SCORERS
from extract.ranks import rank_scores

SCHEME = SCHEMES["hfv4"]
REAL = "real"
REAL_RANK = 0.5
"""Real videos have no anomaly to rank; rank weighting needs a number, and this is the mean rank."""
VALIDATION_SHARE = 0.2
MULTIPLE = 0.2
"""A video that two scores rank among their first fifth has more than one anomaly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A video with its prior scores, by anomaly; of a real video they are for looking at only."""

    id: str
    source: str
    scores: Mapping[str, float]
    real: bool = False

    def __post_init__(self) -> None:
        if set(self.scores) != set(SCORERS) or not all(map(math.isfinite, self.scores.values())):
            raise BadSetting(
                f"Scores of {self.id!r} are {dict(self.scores)}; give a finite number for each of "
                f"{', '.join(SCORERS)}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What became of a video."""

    video: Scored
    ranks: Mapping[str, float]
    """By anomaly: place inside the generator by its number of videos, small = anomalous."""
    proposed: str
    """The class that equation 2 gives."""
    label: str
    """The class after decisions by hand."""
    decided: bool = False
    """Whether someone looked at it."""
    rank: float = REAL_RANK
    """r/n inside the generator's videos of this class."""
    split: str = ""

    @property
    def tie(self) -> bool:
        """Two scores rank it equally high: the paper's order decided."""
        first, second = sorted(self.ranks.values())[:2] if self.ranks else (0.0, 1.0)
        return first == second

    @property
    def anomalies(self) -> tuple[str, ...]:
        """Those whose score ranks it among the first fifth."""
        return tuple(name for name in SCORERS if self.ranks.get(name, 1.0) <= MULTIPLE)

    @property
    def doubt(self) -> float:
        """1 where the two best ranks are equal, 0 where they could not be further apart."""
        if not self.ranks:
            return 0.0
        first, second = sorted(self.ranks.values())[:2]
        return 1 - (second - first)


def label_videos(
    videos: Sequence[Scored], decisions: Mapping[str, str] | None = None, *, seed: int = 0
) -> list[Labelled]:
    """Labels, ranks and splits of all videos, in their order; decisions: id → class."""
    decisions = decisions or {}
    _check(videos, decisions)
    ranks = prior_ranks(videos)
    labelled = []
    for video, video_ranks in zip(videos, ranks, strict=True):
        proposed = REAL if video.real else most_anomalous(video_ranks)
        labelled.append(
            Labelled(
                video=video,
                ranks={} if video.real else video_ranks,
                proposed=proposed,
                label=decisions.get(video.id, proposed),
                decided=video.id in decisions,
            )
        )
    return _split(labelled, seed)


def prior_ranks(videos: Sequence[Scored]) -> list[dict[str, float]]:
    """Equation 1: each score ranks a generator's videos; ties share their mean place."""
    groups = _numbered([(video.source, str(video.real)) for video in videos])
    columns = {
        name: rank_scores([video.scores[name] for video in videos], groups) for name in SCORERS
    }
    return [{name: columns[name][row] for name in SCORERS} for row in range(len(videos))]


def most_anomalous(ranks: Mapping[str, float]) -> str:
    """Equation 2: the anomaly with the smallest rank; of equal ones the first in paper's order."""
    return min(SCORERS, key=lambda name: ranks[name])


def real_split(video_id: str, seed: int) -> str:
    """A fifth of all ids, whatever other videos there are."""
    digest = hashlib.sha256(f"{seed}:{video_id}".encode("utf-8", "surrogatepass")).digest()
    return "val" if int.from_bytes(digest[:8]) < VALIDATION_SHARE * 2**64 else "train"


def _split(labelled: Sequence[Labelled], seed: int) -> list[Labelled]:
    """Ranks and splits inside each generator's classes."""
    done: list[Labelled] = [
        replace(each, split=real_split(each.video.id, seed)) for each in labelled
    ]
    forged = [row for row, each in enumerate(done) if each.label != REAL]
    scores = [done[row].video.scores[done[row].label] for row in forged]
    groups = _numbered([(done[row].video.source, done[row].label) for row in forged])
    members: dict[int, list[tuple[float, str, int]]] = {}
    for row, group, rank in zip(forged, groups, rank_scores(scores, groups), strict=True):
        members.setdefault(group, []).append((rank, done[row].video.id, row))
    for group_members in members.values():
        chosen = validation_count(len(group_members))
        for place, (rank, _, row) in enumerate(sorted(group_members)):
            split = "val" if place < chosen else "train"
            done[row] = replace(done[row], rank=rank, split=split)
    return done


def validation_count(count: int) -> int:
    """A fifth, rounded; of equal ranks the smaller id goes first."""
    return int(np.floor(VALIDATION_SHARE * count + 0.5))


def _numbered(groups: Sequence[tuple[str, str]]) -> list[int]:
    numbers = {group: number for number, group in enumerate(sorted(set(groups)))}
    return [numbers[group] for group in groups]


def _check(videos: Sequence[Scored], decisions: Mapping[str, str]) -> None:
    ids = {video.id for video in videos}
    if len(ids) < len(videos):
        raise BadSetting("A video was given twice; give each id once.")
    for video_id, label in decisions.items():
        if video_id not in ids:
            raise BadSetting(f"Decision on {video_id!r}, which is not among the videos.")
        if label not in SCHEME.classes:
            raise BadSetting(
                f"Decision {label!r} on {video_id!r}; have: {', '.join(SCHEME.classes)}."
            )
