"""The released evaluations of D3, DeMamba, SPLIT, STALL, V-PVP, UniFD and ReStraV."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.parity.rows import Kind, Row, compare, exact
from heads.measuring import authors
from heads.parts.straight import balanced

_TINY = 1e-9


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    kinds: dict[str, Kind] = {
        "d3_eval": _d3_rows,
        "genvideo_protocol": _genvideo_rows,
        "split_eval": _split_rows,
        "stall_metrics": _stall_rows,
        "vpvp_eval": _vpvp_rows,
        "restrav_protocol": _restrav_rows,
    }
    if described.get("item") == "threshold" and "cases" in described:
        return _unifd_rows
    return kinds.get(path.stem)


def _number(path: Path, quantity: str, ours: float, theirs: float, tolerance: float) -> Row:
    a, b = (torch.tensor(float(x), dtype=torch.float64) for x in (ours, theirs))
    return compare(path.name, quantity, a[None], b[None], tolerance)


def _d3_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    real = np.array(described["labels (0 real, 1 generated)"]) == 0
    scores = np.array(described["scores"])
    for quantity, ours in (
        ("released AP: average_precision_score(1 - label, score)",
         authors.average_precision(real, scores)),
        ("AP with generated as positive and -score", authors.average_precision(~real, -scores)),
        ("ROC AUC, real positive", authors.auc(real, scores)),
        ("AP of a constant score = share of reals",
         authors.average_precision(real, np.zeros(len(real)))),
    ):  # fmt: skip
        yield _number(path, quantity, ours, described[quantity], _TINY)


def _genvideo_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    rows = described["rows"]
    generated = np.array([row["label"] for row in rows]) == 1
    probabilities = np.array([row["prob"] for row in rows])
    found = authors.genvideo([row["path"] for row in rows], generated, probabilities)
    for prefix, ours in found.items():
        name = prefix.rpartition("/")[2]
        theirs = described["expected"][name]
        for quantity, number in (
            ("Recall", ours.recall), ("F1", ours.f1), ("AP", ours.average_precision),
        ):  # fmt: skip
            yield _number(path, f"{name} {quantity}", number, theirs[quantity], _TINY)
    counts = [described["nominal_counts"][prefix] for prefix in authors.NOMINAL]
    yield exact(path.name, "nominal counts", list(authors.NOMINAL.values()), counts)


def _split_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    theirs = described["expected"]
    real, generated = (np.array(described[f"{kind} scores"]) for kind in ("real", "generated"))
    recalls: Mapping[str, float] = theirs["fake_recall_at_fpr"]
    ours = authors.split(real, generated, [float(share) for share in recalls])
    for quantity, number in (
        ("ap_real", ours.ap_real), ("ap_fake", ours.ap_generated), ("roc_auc", ours.auc),
        ("mAP", (ours.ap_real + ours.ap_generated) / 2),
        ("best_precision", ours.best_precision), ("best_recall", ours.best_recall),
    ):  # fmt: skip
        yield _number(path, quantity, number, theirs[quantity], _TINY)
    for share, recall in recalls.items():
        yield _number(path, f"recall at {share}", ours.recall_at[float(share)], recall, _TINY)


def _stall_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    kept: dict[str, dict[str, list[float]]] = {"real": {}, "annotated": {}}
    for subset, source, _, score in described["rows"]:
        kept[subset].setdefault(source, []).append(score)
    found = authors.stall(kept["real"], kept["annotated"])
    for row in described["table"]:
        name = row["Generative Model"]
        ours = np.mean(list(found.values()), 0) if name == "Average" else found[name]
        for place, quantity in enumerate(("AUC", "AP")):
            theirs = row[f"final_score {quantity}"]
            yield _number(path, f"{name} {quantity}", ours[place], theirs, 1e-9)


def _vpvp_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    labels, scores = np.array(described["labels"]), np.array(described["scores"])
    found = authors.vpvp(labels, described["category"], scores)
    for name, (area, right) in found.items():
        yield _number(path, f"{name} auc", area, described["auc per generator"][name], _TINY)
        theirs = described["acc per generator (> 0.5)"][name]
        yield _number(path, f"{name} accuracy", right, theirs, _TINY)
    mean = float(np.mean([area for area, _ in found.values()]))
    yield _number(path, "mga auc", mean, described["mga auc"], _TINY)
    overall = authors.auc(labels == 1, scores)
    yield _number(path, "overall auc", overall, described["overall auc"], _TINY)


def _unifd_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    for number, case in enumerate(described["cases"]):
        scores = np.array(case["pred"])
        generated = np.arange(len(scores)) >= case["first_half_real"]
        ours = authors.unifd_threshold(generated, scores)
        tolerance = described["tolerance"]
        yield _number(path, f"case {number} threshold", ours, case["best_threshold"], tolerance)
        area = authors.average_precision(generated, scores)
        yield _number(path, f"case {number} AP", area, case["ap"], tolerance)
        for at, key in ((0.5, "at_0.5"), (ours, "at_best")):
            right = (scores > at) == generated
            found = [right[~generated].mean(), right[generated].mean(), right.mean()]
            theirs = case[f"real_fake_all_acc_{key}"]
            for what, mine, other in zip(("real", "fake", "all"), found, theirs, strict=True):
                yield _number(path, f"case {number} {what} {key}", mine, other, tolerance)


def _restrav_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    real = np.array(described["labels (1 real)"]) == 1
    key = "balanced indices: default_rng(42) draws reals, then generated, then shuffles"
    yield exact(path.name, "balanced indices", balanced(real, 42).tolist(), described[key])
    probabilities = np.array(described["probabilities"])
    step, f1 = authors.restrav_threshold(real, probabilities)
    expected = "best tau over linspace(.1,.9,81), first best F1 of the REAL class, p >= tau"
    yield _number(path, "best tau", step, described[expected], _TINY)
    yield _number(path, "its F1", f1, described["its F1"], _TINY)
    yield _number(path, "AUC", authors.auc(real, probabilities), described["AUC"], _TINY)
