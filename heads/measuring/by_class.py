"""Each class against the rest, and what is generated against what is real: numbers and curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heads.measuring import curves, intervals
from heads.measuring.curves import Curve
from heads.measuring.detection import forgery
from heads.measuring.intervals import Interval, absent
from heads.measuring.metrics import REAL, Floats, Labels

GENERATED = "generated"
_POINTS = 200
"""Of a drawn curve: more are not seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassResult:
    """One class against the rest."""

    n: int
    auc: Interval
    average_precision: Interval
    roc: Curve | None
    """None where all videos are of the class, or none is."""
    precision_recall: Curve | None

    def to_json(self) -> dict[str, object]:
        lines = {"roc": self.roc, "precision and recall": self.precision_recall}
        return {
            "n": self.n, "auc": self.auc.to_json(),
            "average precision": self.average_precision.to_json(),
            "curves": {
                name: [line.x.round(5).tolist(), line.y.round(5).tolist()]
                for name, line in lines.items() if line is not None
            },
        }  # fmt: skip


def by_class(
    probabilities: Floats, labels: Labels, classes: Sequence[str]
) -> dict[str, ClassResult]:
    """By class; where one is `real`, also what is generated, of any kind."""
    found = {
        name: _against_rest(probabilities[:, place].astype(np.float64), labels == place, name)
        for place, name in enumerate(classes)
    }
    if REAL in classes and len(classes) > 2:
        fake = labels != list(classes).index(REAL)
        found[GENERATED] = _against_rest(forgery(probabilities, classes), fake, GENERATED)
    return found


def _against_rest(scores: Floats, positive: NDArray[np.bool_], name: str) -> ClassResult:
    n = int(positive.sum())
    if not 0 < n < len(positive):
        none = absent(float("nan"), len(positive), f"{'no' if not n else 'every'} video is {name}")
        return ClassResult(n=n, auc=none, average_precision=none, roc=None, precision_recall=None)
    names = ("the rest", name)
    return ClassResult(
        n=n,
        auc=intervals.auc(scores, positive, names),
        average_precision=intervals.bootstrap(
            curves.average_precision, [scores[~positive], scores[positive]], names
        ),
        roc=_thinned(curves.roc(scores, positive)),
        precision_recall=_thinned(curves.precision_recall(scores, positive)),
    )


def _thinned(curve: Curve) -> Curve:
    if len(curve.x) <= _POINTS:
        return curve
    kept = np.unique(np.linspace(0, len(curve.x) - 1, _POINTS).round().astype(int))
    return Curve(x=curve.x[kept], y=curve.y[kept])


def lines_of(found: Mapping[str, ClassResult]) -> list[str]:
    """For a terminal."""
    width = max(12, *(len(name) for name in found))
    return [
        f"  {name:{width}} AUC {one.auc}, average precision {one.average_precision}, "
        f"{one.n:,} of them {name}"
        for name, one in found.items()
    ]
