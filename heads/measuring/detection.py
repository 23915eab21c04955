"""Generated against real, whatever the classes: the numbers that moderation asks for.

The score is the probability that a video is not real; a false alarm is a real video above the
threshold.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heads.measuring import curves, intervals
from heads.measuring.intervals import Interval, absent
from heads.measuring.metrics import REAL, Floats, Labels

NAMES = ("real", "generated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Of one set of videos, with intervals."""

    reals: int
    generated: int
    auc: Interval
    average_precision: Interval
    """Generated ones are to be found."""
    equal_error_rate: Interval
    found_at: Mapping[str, Interval]
    """Share of false alarms → share of generated videos found."""

    def lines(self) -> list[str]:
        """For a terminal."""
        lines = [
            f"generated against real ({self.reals:,} reals, {self.generated:,} generated):",
            f"  AUC {self.auc}",
            f"  average precision {self.average_precision}",
            f"  equal error rate {self.equal_error_rate}",
        ]
        for share, found in self.found_at.items():
            lines.append(f"  found at {float(share):.1%} false alarms {found}")
        return lines

    def to_json(self) -> dict[str, object]:
        return {
            "reals": self.reals, "generated": self.generated, "auc": self.auc.to_json(),
            "average precision": self.average_precision.to_json(),
            "equal error rate": self.equal_error_rate.to_json(),
            "found at false alarms": {s: one.to_json() for s, one in self.found_at.items()},
        }  # fmt: skip


def forgery(probabilities: Floats, classes: Sequence[str]) -> Floats:
    """The probability that each video is not real."""
    return np.asarray(1 - probabilities[:, list(classes).index(REAL)])


def detection(probabilities: Floats, labels: Labels, classes: Sequence[str]) -> Detection | None:
    """None where no class is `real`."""
    if REAL not in classes:
        return None
    real = labels == list(classes).index(REAL)
    scores = forgery(probabilities, classes).astype(np.float64)
    groups = [scores[real], scores[~real]]
    missing = next((name for name, group in zip(NAMES, groups, strict=True) if not len(group)), "")

    def number(statistic: intervals.Statistic, *, alike: bool = False) -> Interval:
        if missing:
            return absent(math.nan, len(labels), f"no {missing} video")
        return intervals.bootstrap(statistic, groups, NAMES, alike=alike)

    auc = intervals.auc(scores, ~real, NAMES)
    if missing:
        auc = absent(math.nan, len(labels), f"no {missing} video")
    return Detection(
        reals=int(real.sum()), generated=int((~real).sum()), auc=auc,
        average_precision=number(curves.average_precision),
        equal_error_rate=number(curves.equal_error_rate, alike=True),
        found_at={
            f"{share:g}": curves.found_at(*groups, share=share) for share in curves.FALSE_ALARMS
        },
    )  # fmt: skip
