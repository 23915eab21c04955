"""A bundle's papers about its own numbers: temperature, thresholds of sets, operating points, each
with the videos that it comes from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from heads.data.rows import Rows
from heads.errors import BadSetting, BadTable
from heads.head import Probabilities
from heads.measuring.calibration import fit_temperature, tempered
from heads.measuring.conformal import all_thresholds
from heads.measuring.detection import NAMES, forgery
from heads.measuring.intervals import MINIMUM, auc, wilson
from heads.measuring.metrics import REAL, Floats, Labels, averaged, has_result
from heads.parts.novelty import histogram

if TYPE_CHECKING:
    from heads.bundle import Bundle
    from heads.judging.evaluation import Predictions


def calibrated(
    bundle: "Bundle", probabilities: Probabilities, labels: Labels, ids: Sequence[object], what: str
) -> "Bundle":
    """The bundle with a temperature and thresholds from these predictions of its head, which must
    not be about videos that the head learnt from or was decided by. Operating points go: they are
    thresholds of probabilities that are no more."""
    there = has_result(averaged(probabilities))
    probabilities, labels = probabilities[there], labels[there]
    ids = [video for video, has in zip(ids, there.tolist(), strict=True) if has]
    temperature = fit_temperature(probabilities, labels)
    means = averaged(tempered(probabilities, temperature))
    counts = np.bincount(labels, minlength=len(bundle.classes)).tolist()
    about = replace(
        bundle.about,
        temperature=temperature,
        conformal=all_thresholds(means, labels, bundle.classes),
        calibration={
            "from": what, "videos": len(labels),
            "by class": dict(zip(bundle.classes, counts, strict=True)),
            "worth": worth(means, labels, bundle.classes),
        },
        operating=(),
    )  # fmt: skip
    known = bundle.familiar and replace(bundle.familiar, verdicts=histogram(means))
    return replace(bundle, about=about, rows=bundle.rows.joined(calibrated=ids), familiar=known)


def check_calibrating(
    known: Rows, classes: Sequence[str], ids: Sequence[object], theirs: Sequence[str], where: str
) -> NDArray[np.bool_]:
    """Which of these videos, of these classes, may calibrate: those that taught and decided
    nothing."""
    if tuple(classes) != tuple(theirs):
        raise BadTable(
            f"The videos' classes are {', '.join(theirs)}, the bundle's {', '.join(classes)}. "
            f"Labels would be misread; use a store of that scheme."
        )
    new = ~known.knows(ids)
    if new.sum() < MINIMUM:
        raise BadTable(
            f"{int(new.sum())} videos of {where!r} are left to calibrate by, "
            f"{int((~new).sum())} were learnt from or decided by; give {MINIMUM} or more."
        )
    return new


def worth(means: Floats, labels: Labels, classes: Sequence[str]) -> dict[str, object]:
    """What verdicts are worth, in three numbers: generated against real, and what the likeliest
    class says of both. Nothing where there is no class `real`, or where one side is missing."""
    if REAL not in classes:
        return {}
    place = list(classes).index(REAL)
    real, said = labels == place, means.argmax(1) != place
    if real.all() or not real.any():
        return {}
    numbers = {
        "auc": auc(forgery(means, classes), ~real, NAMES),
        "false alarms": wilson(int(said[real].sum()), int(real.sum())),
        "caught": wilson(int(said[~real].sum()), int((~real).sum())),
    }
    return {name: number.to_json() for name, number in numbers.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """A threshold on the probability of being generated, for a stated share of false alarms on
    stated reals."""

    false_alarms: float
    """Promised on average over such sets of reals."""
    threshold: float
    """A video is flagged above it."""
    reals: int
    low: float
    high: float
    """95% of such sets give a threshold whose true share of false alarms lies between these."""
    source: str

    def __str__(self) -> str:
        return (
            f"flagged above {self.threshold:.4f}: {self.false_alarms:.2%} false alarms on reals "
            f"like {self.source} ({self.low:.2%} to {self.high:.2%}, from {self.reals:,} reals)"
        )

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @staticmethod
    def read(document: Mapping[str, object]) -> "OperatingPoint":
        """As a bundle has it."""
        return OperatingPoint(**document)  # type: ignore[arg-type]


def operating_point(forgeries: Floats, share: float, source: str) -> OperatingPoint:
    """From the probabilities of being generated that reals were given. With n reals the threshold
    is the k-th highest, k = (n + 1) * share rounded down; the share of all such reals above it has
    a beta distribution. Without k >= 1 nothing can be promised."""
    if not 0 < share < 1:
        raise BadSetting(f"--fpr {share:g}: give more than 0, less than 1, such as 0.01.")
    n = len(forgeries)
    allowed = math.floor((n + 1) * share + 1e-9)
    if allowed < 1:
        raise BadSetting(
            f"{n:,} reals cannot promise {share:.2%} false alarms: even the threshold that none of "
            f"them passes may be passed by {_most(n):.2%} of such videos. Give {_needed(share):,} "
            f"reals or more, or --fpr {math.ceil(10000 / (n + 1)) / 10000:g} or more."
        )
    ordered = np.sort(forgeries.astype(np.float64))[::-1]
    low, high = stats.beta.ppf([0.025, 0.975], allowed, n + 1 - allowed)
    return OperatingPoint(
        false_alarms=share, threshold=float(ordered[allowed - 1]), reals=n, low=float(low),
        high=float(high), source=source,
    )  # fmt: skip


def operating_lines(found: "Predictions", points: Sequence[Mapping[str, object]]) -> list[str]:
    """How a bundle's thresholds did on judged videos."""
    if not points or REAL not in found.classes:
        return []
    scores, real = forgery(found.means, found.classes), found.labels == found.classes.index(REAL)
    lines = []
    for point in map(OperatingPoint.read, points):
        above = scores > point.threshold
        alarms = wilson(int(above[real].sum()), int(real.sum()))
        caught = wilson(int(above[~real].sum()), int((~real).sum()))
        lines.append(f"{point}\n  here: false alarms {alarms}, generated ones flagged {caught}")
    return lines


def _needed(share: float) -> int:
    return math.ceil(1 / share - 1 - 1e-9)


def _most(n: int) -> float:
    """What the true share may be when none of n is above; 95%."""
    return float(1 - 0.05 ** (1 / n)) if n else 1.0
