"""How good predictions are: per source and on average over sources, with intervals.

Views are averaged as probabilities per video. Reals that are a source of their own join every
generator (`heads.data.generators`). What has one class only has an accuracy and no AUC, and the
table says so. Everything printed carries how many videos it is of.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features_store.store import Store
from features_store.table import Table
from heads.bundle import Bundle
from heads.data.generators import sources_of
from heads.data.splits import testing_protocols, usable
from heads.errors import BadTable
from heads.head import Probabilities, check_labels
from heads.judging.released import official_id
from heads.measuring.by_class import ClassResult, by_class
from heads.measuring.calibration import reliability
from heads.measuring.conformal import Coverage, Thresholds, coverage
from heads.measuring.detection import Detection, detection
from heads.measuring.intervals import Interval, accuracy, f1, macro_auc_interval, wilson
from heads.measuring.metrics import REAL, Floats, Metrics, averaged, has_result, measure
from heads.measuring.tests import Difference, delong, delong_binary, mcnemar

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

    def take(self, mask: NDArray[np.bool_]) -> "Predictions":
        """Some of the videos."""
        return Predictions(
            ids=[name for name, keep in zip(self.ids, mask, strict=True) if keep],
            labels=self.labels[mask],
            sources=[name for name, keep in zip(self.sources, mask, strict=True) if keep],
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


def real_means(bundle: Bundle, store: Store, protocol: str | None) -> tuple[Floats, list[str]]:
    """What a bundle says of a store's real videos; of all of them where none has a label."""
    labels = store.videos.column("label")
    mask = labels == bundle.classes.index(REAL) if (labels >= 0).any() else labels < 0
    known = store.protocols()
    name = protocol or (known[0] if len(known) == 1 else None)
    about = bundle.about
    wanted = testing_protocols(store, about.protocol)
    name = name or usable(store, wanted, about.fingerprints, mask)
    table = bundle.table(store, protocol=name, where=mask)
    means = averaged(bundle.predict(table))
    there = has_result(means)
    return means[there], [str(video) for video in table.ids[there]]


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
    f1: Interval
    detection: Detection | None
    """Generated against real; None without a class `real`."""
    reals: int = 0
    fakes: int = 0

    @property
    def counts(self) -> str:
        return f"{self.reals:,} real + {self.fakes:,} generated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything about one set of predictions."""

    sources: Mapping[str, SourceResult]
    """By generator (see the module), and `all videos`."""
    reals: Sequence[str]
    """Sources of reals alone, which are in every generator's column."""
    classes: Mapping[str, ClassResult]
    """Of all videos: each class against the rest."""
    average: Mapping[str, float]
    """Mean over generators of each number, where it is defined."""
    averaged: Mapping[str, int]
    """Over how many generators each of them is."""
    calibration_error: float
    conformal: Mapping[str, Coverage]
    """By error rate."""

    def to_json(self) -> dict[str, object]:
        return {
            "sources": {name: _as_json(result) for name, result in self.sources.items()},
            "reals in every source": list(self.reals),
            "average over sources": {k: _number(v) for k, v in self.average.items()},
            "sources averaged": dict(self.averaged),
            "classes": {name: found.to_json() for name, found in self.classes.items()},
            "calibration error": _number(self.calibration_error),
            "conformal": {rate: found.to_json() for rate, found in self.conformal.items()},
        }


def evaluate(found: Predictions, thresholds: Mapping[str, Thresholds] | None = None) -> Evaluation:
    """All numbers, per generator, averaged over generators, and over all videos."""
    sources = sources_of(found.sources, found.labels, found.classes)
    results = {name: result_of(found.take(mask)) for name, mask in sources.masks.items()}
    average, counted = {}, {}
    for number in next(iter(results.values())).metrics.numbers():
        values = [result.metrics.numbers()[number] for result in results.values()]
        defined = [value for value in values if not math.isnan(value)]
        average[number] = float(np.mean(defined)) if defined else math.nan
        counted[number] = len(defined)
    results[ALL] = result_of(found)
    return Evaluation(
        sources=results,
        reals=sources.reals,
        classes=by_class(found.means, found.labels, found.classes),
        average=average,
        averaged=counted,
        calibration_error=reliability(found.means, found.labels).error,
        conformal={
            rate: coverage(found.means, found.labels, found.classes, rate, limits)
            for rate, limits in (thresholds or {}).items()
        },
    )


def compare(first: Predictions, second: Predictions) -> dict[str, Difference]:
    """Paired: the videos that both scored. Cut ids are the same in several sources."""
    places = {key: position for position, key in enumerate(_keys(second))}
    both = [(i, places[key]) for i, key in enumerate(_keys(first)) if key in places]
    if not both:
        raise BadTable("The two bundles scored no video in common.")
    a, b = map(np.array, zip(*both, strict=True))
    labels, one, other = first.labels[a], first.means[a], second.means[b]
    differences = {
        "accuracy": mcnemar(one.argmax(1) == labels, other.argmax(1) == labels),
        "auc": delong(one, other, labels, first.classes),
    }
    if REAL in first.classes:
        place = first.classes.index(REAL)
        forged = labels != place
        scores = (1 - one[:, place], 1 - other[:, place])
        differences["binary auc"] = delong_binary(*scores, forged, ("real", "generated"))
    return differences


def _keys(found: Predictions) -> list[tuple[str, str]]:
    return list(zip(found.sources, found.ids, strict=True))


def result_of(found: Predictions) -> SourceResult:
    place = found.classes.index(REAL) if REAL in found.classes else -1
    real = int((found.labels == place).sum())
    return SourceResult(
        metrics=measure(found.means, found.labels, found.classes),
        accuracy=accuracy(found.means, found.labels),
        auc=macro_auc_interval(found.means, found.labels, found.classes),
        f1=f1(found.means, found.labels, found.classes),
        detection=detection(found.means, found.labels, found.classes),
        reals=real,
        fakes=len(found.labels) - real,
    )


def _as_json(result: SourceResult) -> dict[str, object]:
    numbers = {name: _number(value) for name, value in result.metrics.numbers().items()}
    return {
        "videos": result.metrics.videos,
        "reals": result.reals,
        "generated": result.fakes,
        **numbers,
        "accuracy interval": [_number(result.accuracy.low), _number(result.accuracy.high)],
        "auc interval": [_number(result.auc.low), _number(result.auc.high)],
        "f1 interval": [_number(result.f1.low), _number(result.f1.high)],
        **_binary_intervals(result),
        "detection": None if result.detection is None else result.detection.to_json(),
        "class f1": dict(result.metrics.class_f1),
        "confusion": result.metrics.confusion.tolist(),
        "undefined": dict(result.metrics.undefined),
    }


def _binary_intervals(result: SourceResult) -> dict[str, object]:
    """Of real or not, whatever is wrong with what is not."""
    found = result.detection
    if found is None:
        return {}
    right, videos = result.metrics.binary_accuracy, result.metrics.videos
    whole = {"accuracy": wilson(round(right * videos), videos), "auc": found.auc}
    return {
        f"binary_{name} interval": [_number(one.low), _number(one.high)]
        for name, one in whole.items()
    }


def _number(value: float) -> float | None:
    """JSON has no NaN: a number that does not exist is null."""
    return None if math.isnan(value) else value


def view_spread(probabilities: Probabilities) -> Floats:
    """How far views that have a result disagree: the largest deviation over classes, per video."""
    std = np.nanstd if np.isnan(probabilities).any() else np.std
    spread: Floats = std(probabilities, axis=1).max(-1)
    return spread
