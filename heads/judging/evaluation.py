"""How good predictions are: per source and on average over sources, with intervals.

Views are averaged as probabilities per video. A source that has one class only (every generator of
HFV whose videos share a label) has an accuracy and no AUC, and the table says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features_store.table import Table
from heads.bundle import Bundle
from heads.errors import BadTable
from heads.head import Probabilities, check_labels
from heads.judging import paper
from heads.judging.calibration import conformal_sets, coverage, reliability
from heads.judging.intervals import Interval, accuracy, macro_auc_interval
from heads.judging.metrics import Floats, Metrics, averaged, has_result, measure
from heads.judging.released import official_id
from heads.judging.tests import Difference, delong, mcnemar

ALL, AVERAGE = "all videos", "average"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a bundle said about labelled videos."""

    ids: Sequence[str]
    labels: NDArray[np.int64]
    sources: Sequence[str]
    classes: tuple[str, ...]
    means: Floats
    """(n, C)"""
    nothing: int = 0
    """Videos that were left out because there was nothing to look at in them."""

    def of_source(self, source: str) -> "Predictions":
        mask = np.array([name == source for name in self.sources])
        return Predictions(
            ids=[name for name, keep in zip(self.ids, mask, strict=True) if keep],
            labels=self.labels[mask],
            sources=[source] * int(mask.sum()),
            classes=self.classes,
            means=self.means[mask],
        )


def predictions(bundle: Bundle, table: Table, *, official_ids: bool = False) -> Predictions:
    """Score a table. With `official_ids` videos are merged as the released code merges them."""
    check_labels(table, "scored", several=False)
    if tuple(table.classes) != tuple(bundle.classes):
        raise BadTable(
            f"The store's classes are {', '.join(table.classes)}, the bundle's "
            f"{', '.join(bundle.classes)}. Labels would be misread; use a store of that scheme."
        )
    means = averaged(bundle.predict(table))
    there = has_result(means)
    if not there.any():
        raise BadTable(
            f"There is nothing to look at in any of the {len(table)} videos: fewer frames, faces "
            f"or persons than the head needs. Choose other videos, or another protocol."
        )
    table = table.take(there)
    found = Predictions(
        ids=[str(name) for name in table.ids],
        labels=table.labels.astype(np.int64),
        sources=[str(name) or "none" for name in table.sources],
        classes=bundle.classes,
        means=means[there],
        nothing=int((~there).sum()),
    )
    return _merged(found) if official_ids else found


def _merged(found: Predictions) -> Predictions:
    """The released code's cut ids: the first video of a name gives the views, later ones none."""
    first: dict[tuple[str, str], int] = {}
    for position, (name, source) in enumerate(zip(found.ids, found.sources, strict=True)):
        first.setdefault((source, official_id(name)), position)
    keep = np.array(sorted(first.values()))
    return Predictions(
        ids=[official_id(found.ids[i]) for i in keep],
        labels=found.labels[keep],
        sources=[found.sources[i] for i in keep],
        classes=found.classes,
        means=found.means[keep],
        nothing=found.nothing,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResult:
    """One column of the table."""

    metrics: Metrics
    accuracy: Interval
    auc: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything about one set of predictions."""

    sources: Mapping[str, SourceResult]
    """By source, and `all videos`."""
    average: Mapping[str, float]
    """Mean over sources of each number, where it is defined."""
    calibration_error: float
    conformal: Mapping[str, tuple[float, float, float]]
    """Error rate → promised coverage, measured coverage, mean size of a set."""

    def to_json(self) -> dict[str, object]:
        return {
            "sources": {name: _as_json(result) for name, result in self.sources.items()},
            "average over sources": {k: _number(v) for k, v in self.average.items()},
            "calibration error": _number(self.calibration_error),
            "conformal": {
                rate: dict(zip(("promised", "measured", "size"), values, strict=True))
                for rate, values in self.conformal.items()
            },
        }


def evaluate(found: Predictions, thresholds: Mapping[str, float] | None = None) -> Evaluation:
    """All numbers, per source, averaged over sources, and over all videos."""
    names = sorted(set(found.sources))
    results = {name: _result(found.of_source(name)) for name in names}
    average = {}
    for number in results[names[0]].metrics.numbers():
        values = [result.metrics.numbers()[number] for result in results.values()]
        defined = [value for value in values if not math.isnan(value)]
        average[number] = float(np.mean(defined)) if defined else math.nan
    results[ALL] = _result(found)
    conformal = {
        rate: (1 - float(rate), *coverage(found.means, found.labels, threshold))
        for rate, threshold in (thresholds or {}).items()
    }
    return Evaluation(
        sources=results,
        average=average,
        calibration_error=reliability(found.means, found.labels).error,
        conformal=conformal,
    )


def compare(first: Predictions, second: Predictions) -> dict[str, Difference]:
    """Paired: the videos that both scored. Cut ids are the same in several sources."""
    places = {key: position for position, key in enumerate(_keys(second))}
    both = [(i, places[key]) for i, key in enumerate(_keys(first)) if key in places]
    if not both:
        raise BadTable("The two bundles scored no video in common.")
    a, b = map(np.array, zip(*both, strict=True))
    labels, one, other = first.labels[a], first.means[a], second.means[b]
    return {
        "accuracy": mcnemar(one.argmax(1) == labels, other.argmax(1) == labels),
        "auc": delong(one, other, labels, first.classes),
    }


def _keys(found: Predictions) -> list[tuple[str, str]]:
    return list(zip(found.sources, found.ids, strict=True))


def text_table(evaluation: Evaluation, printed: paper.Rows | None = None) -> str:
    """The paper's layout: sources as columns, ACC / AUC in percent; its own rows below ours."""
    columns = [name for name in evaluation.sources if name != ALL]
    cells = {name: _cell(evaluation.sources[name].metrics.numbers()) for name in columns}
    cells[AVERAGE] = _cell(evaluation.average)
    cells[ALL] = _cell(evaluation.sources[ALL].metrics.numbers())
    rows = [("ours", cells)]
    for method, numbers in (printed or {}).items():
        rows.append((f"paper: {method}", {name: str(cell) for name, cell in numbers.items()}))
    widths = {name: max(len(name), 13) for name in cells}
    margin = max(6, *(len(title) for title, _ in rows))
    lines = [f"{'':{margin}}  " + "  ".join(name.rjust(widths[name]) for name in cells)]
    for title, row in rows:
        line = "  ".join(row.get(name, "").rjust(widths[name]) for name in cells)
        lines.append(f"{title:{margin}}  {line}")
    return "\n".join(lines)


def _result(found: Predictions) -> SourceResult:
    return SourceResult(
        metrics=measure(found.means, found.labels, found.classes),
        accuracy=accuracy(found.means, found.labels),
        auc=macro_auc_interval(found.means, found.labels, found.classes),
    )


def _cell(numbers: Mapping[str, float]) -> str:
    accuracy, auc = numbers["accuracy"], numbers["auc"]
    return f"{100 * accuracy:.1f} / {'  -' if math.isnan(auc) else f'{100 * auc:.1f}'}"


def _as_json(result: SourceResult) -> dict[str, object]:
    numbers = {name: _number(value) for name, value in result.metrics.numbers().items()}
    return {
        "videos": result.metrics.videos,
        **numbers,
        "accuracy interval": [_number(result.accuracy.low), _number(result.accuracy.high)],
        "auc interval": [_number(result.auc.low), _number(result.auc.high)],
        "class f1": dict(result.metrics.class_f1),
        "confusion": result.metrics.confusion.tolist(),
        "undefined": dict(result.metrics.undefined),
    }


def _number(value: float) -> float | None:
    """JSON has no NaN: a number that does not exist is null."""
    return None if math.isnan(value) else value


def unsure(found: Predictions, threshold: float) -> float:
    """Share of videos whose conformal set is empty or has every class."""
    sizes = conformal_sets(found.means, threshold).sum(1)
    return float(((sizes == 0) | (sizes == len(found.classes))).mean())


def view_spread(probabilities: Probabilities) -> Floats:
    """How far views that have a result disagree: the largest deviation over classes, per video."""
    std = np.nanstd if np.isnan(probabilities).any() else np.std
    spread: Floats = std(probabilities, axis=1).max(-1)
    return spread
