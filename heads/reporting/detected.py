"""How well generated videos are told from real ones: numbers with intervals, and curves on which
thresholds are marked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from heads.figures import charts
from heads.measuring import curves, intervals
from heads.measuring.by_class import GENERATED
from heads.measuring.detection import NAMES, forgery
from heads.measuring.intervals import Interval, wilson
from heads.measuring.metrics import REAL
from heads.reporting.documents import Document, mapping_of
from heads.reporting.parts import number, percent, picture, side_by_side, table
from heads.reporting.scores import TRUE, Scores

Points = tuple[Sequence[float], Sequence[float]]
FLAGGED = "found over the bundle's threshold"
ALARMS = "false alarms over the bundle's threshold"
_MOST_POINTS = 400
"""Of a drawn curve: more are not seen."""
_NAMED = {
    "auc": "AUC", "average precision": "average precision", "equal error rate": "equal error rate",
    FLAGGED: FLAGGED, ALARMS: ALARMS,
}  # fmt: skip


def detected(found: object, drawn: Mapping[str, Points]) -> str:
    """`found`: as evaluation writes it; `drawn`: curves of what is generated, by name."""
    if not isinstance(found, Mapping):
        return ""
    numbers = {said: mapping_of(found[n], Path(n)) for n, said in _NAMED.items() if n in found}
    marks: dict[str, tuple[float, float]] = {}
    for share, one in found["found at false alarms"].items():
        numbers[f"found at {100 * float(share):g}% false alarms"] = one
        if one["value"] is not None:
            marks[f"{100 * float(share):g}% false alarms"] = (float(share), one["value"])
    equal = found.get("equal error rate", {}).get("value")
    if equal is not None:
        marks["equal error rate"] = (equal, 1 - equal)
    if FLAGGED in found and ALARMS in found:
        marks["the bundle's threshold"] = (found[ALARMS]["value"], found[FLAGGED]["value"])
    rows = []
    for name, one in numbers.items():
        ends = one["why"] or f"[{percent(one['low'])}, {percent(one['high'])}]"
        rows.append([name, percent(one["value"]), ends, number(one["n"])])
    body = table(("number", "%", "95% interval", "videos"), rows)
    return f"<h3>Generated against real</h3>{body}{_pictures(numbers, drawn, marks)}"


def _pictures(
    numbers: Mapping[str, Document],
    drawn: Mapping[str, Points],
    marks: Mapping[str, tuple[float, float]],
) -> str:
    said = "; ".join(f"{name} {percent(one['value'])}%" for name, one in numbers.items())
    made = []
    if "roc" in drawn:
        line = charts.curves_of(
            {GENERATED: drawn["roc"]}, "false alarms (FPR)", "found (TPR)", diagonal=True,
            marks=marks,
        )  # fmt: skip
        made.append(picture(line, "ROC: generated against real", f"ROC curve; {said}"))
    if "precision and recall" in drawn:
        line = charts.curves_of(
            {GENERATED: drawn["precision and recall"]}, "found (recall)", "right (precision)",
            diagonal=False,
        )  # fmt: skip
        caption = "Precision and recall: generated against real"
        made.append(picture(line, caption, f"{caption}; {said}"))
    return side_by_side(made) if made else ""


def of_scores(scores: Scores) -> str:
    """The same of scores whose truth is known; without draws, which take long in an archive."""
    if REAL not in scores.classes or not scores.judged.any():
        return ""
    rows = np.flatnonzero(scores.judged)
    fake = scores.labels[rows] != scores.classes.index(REAL)
    if fake.all() or not fake.any():
        return ""
    values = forgery(scores.probabilities[rows], scores.classes).astype(np.float64)
    rest, hits = values[~fake], values[fake]
    found: dict[str, Any] = {
        "auc": intervals.auc(values, fake, NAMES).to_json(),
        "found at false alarms": {
            f"{share:g}": curves.found_at(rest, hits, share=share).to_json()
            for share in curves.FALSE_ALARMS
        },
    }
    flags = scores.texts.get("flagged")
    if flags and any(flags):
        over = np.array([flags[row] in TRUE for row in rows.tolist()])
        found[FLAGGED] = _share(over[fake]).to_json()
        found[ALARMS] = _share(over[~fake]).to_json()
    drawn = {
        "roc": curves.roc(values, fake),
        "precision and recall": curves.precision_recall(values, fake),
    }
    return detected(found, {name: _thinned(line.x, line.y) for name, line in drawn.items()})


def _share(mask: Any) -> Interval:  # noqa: ANN401
    return wilson(int(mask.sum()), len(mask))


def _thinned(x: Any, y: Any) -> Points:  # noqa: ANN401
    kept = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(int))
    return x[kept].tolist(), y[kept].tolist()
