"""What `telltale evaluate` left, as a chapter of a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heads.errors import BadRun
from heads.figures import charts
from heads.judging import paper
from heads.judging.evaluation import ALL, AVERAGE
from heads.measuring.by_class import GENERATED
from heads.measuring.metrics import REAL, plain_name
from heads.reporting.detected import Points, detected
from heads.reporting.documents import Document, mapping_of, part_of, read_document
from heads.reporting.parts import (
    NOTHING,
    Big,
    Section,
    folded,
    headline,
    number,
    p_value,
    paragraph,
    percent,
    picture,
    side_by_side,
    table,
)  # fmt: skip
from heads.reporting.safe import text

SHARES = {
    "accuracy": "accuracy", "auc": "AUC", "f1": "F1",
    "binary_accuracy": "real or not, accuracy", "binary_auc": "real or not, AUC",
}  # fmt: skip


def evaluation(path: Path, name: str) -> Section:
    document = read_document(path)
    judged = {"": document} if "sources" in document else document
    difference = judged.get("difference")
    body = ""
    for bundle, found in judged.items():
        if bundle == "difference":
            continue
        body += f"<h3>{text(bundle)}</h3>" if len(judged) > 1 else ""
        body += _judged(mapping_of(found, path), path)
    if difference is not None:
        first, second, *_ = [name for name in judged if name != "difference"]
        title = f"{second} minus {first}, on the same videos"
        body += f"<h3>{text(title)}</h3>" + _difference(mapping_of(difference, path))
    return Section(name=name, title="Evaluation", body=body)


def _judged(found: Document, path: Path) -> str:
    sources = {n: mapping_of(one, path) for n, one in part_of(found, "sources", path).items()}
    whole = sources[ALL]
    big = [
        Big(
            label="accuracy, %", value=percent(whole["accuracy"]), note=bounds_of(whole, "accuracy")
        ),
        Big(label="AUC, %", value=percent(whole["auc"]), note=bounds_of(whole, "auc")),
        Big(
            label="real or not, AUC, %",
            value=percent(whole["binary_auc"]),
            note=bounds_of(whole, "binary_auc"),
        ),
        Big(
            label="calibration error, %",
            value=percent(found.get("calibration error")),
            note="too large where videos are few",
        ),
        Big(label="videos", value=number(whole["videos"]), note=_kinds(whole)),
    ]
    body = headline(big) + paragraph("In brackets: 95% intervals (Wilson, DeLong).", "note")
    body += _source_table(sources, part_of(found, "average over sources", path))
    counted = part_of(found, "sources averaged", path)
    if counted:
        said = ", ".join(f"{SHARES[n]} over {counted[n]}" for n in SHARES if n in counted)
        body += paragraph(f"The average is over sources where a number is defined: {said}.", "note")
    joined = found.get("reals in every source")
    if isinstance(joined, Sequence) and joined:
        body += paragraph(f"Reals of {', '.join(map(str, joined))} are in every row.", "note")
    classes = part_of(found, "classes", path)
    body += detected(whole.get("detection"), _generated(classes, path)) + _classes(classes, path)
    for what, why in part_of(whole, "undefined", path).items():
        body += paragraph(f"{what} is not defined: {why}.", "note")
    body += _floors(part_of(found, "floors", path))
    rates = part_of(found, "conformal", path)
    if rates:
        rows = [_conformal(rate, mapping_of(one, path)) for rate, one in rates.items()]
        columns = ("error rate asked, %", "coverage promised, %", "measured, %", "classes a set")
        body += "<h3>Sets with a promised error rate</h3>" + table(columns, rows)
        body += paragraph(
            "A set names the classes that are not ruled out: one that holds every class says "
            "nothing.", "note"
        )  # fmt: skip
    body += "<h3>What is taken for what</h3>" + _confusion(ALL, whole)
    others = [_confusion(name, one) for name, one in sources.items() if name != ALL]
    return body + folded("The same for each source", side_by_side(others))


def _kinds(whole: Document) -> str:
    """Of which so many are real."""
    if "reals" not in whole:
        return ""
    return f"{number(whole['reals'])} real, {number(whole['generated'])} generated"


def _floors(found: Document) -> str:
    """What this result has to beat, as evaluation wrote it."""
    lines = found.get("lines", [])
    if not isinstance(lines, Sequence) or not lines:
        return ""
    return "<h3>Floors</h3>" + "".join(paragraph(str(line), "note") for line in lines)


def _source_table(sources: Mapping[str, Document], average: Document) -> str:
    classes = list(mapping_of(sources[ALL]["class f1"], Path("class f1")))
    printed = paper.rows(len(classes), sources.keys() - {ALL}, AVERAGE).get(paper.OWN, {})
    order = [*(name for name in sources if name != ALL), AVERAGE, ALL]
    rows = []
    for name in order:
        one = average if name == AVERAGE else sources[name]
        row = [name, _videos(one)]
        row += [f"{percent(one.get(n))}\n{bounds_of(one, n)}".strip() for n in SHARES]
        if printed:
            cell = printed.get(name)
            row += [f"{cell.accuracy:.1f}", f"{cell.auc:.1f}"] if cell else ["", ""]
        rows.append(row)
    columns = ["source", "videos (real + generated)", *(f"{said}, %" for said in SHARES.values())]
    columns += ["paper: accuracy, %", "paper: AUC, %"] if printed else []
    notes = [paragraph(f"Paper: {n}.", "note") for n in paper.notes(len(classes)) if printed]
    return table(columns, rows, strong=2) + "".join(notes)


def _videos(one: Document) -> str:
    """How many, and how many of them are real."""
    if "reals" not in one:
        return number(one.get("videos", ""))
    return f"{number(one['videos'])} ({number(one['reals'])} + {number(one['generated'])})"


def bounds_of(one: Document, what: str) -> str:
    """The 95% interval, in percent."""
    bounds = one.get(f"{what} interval")
    if not isinstance(bounds, Sequence) or len(bounds) != 2 or None in bounds:
        return ""
    return f"[{percent(bounds[0])}, {percent(bounds[1])}]"


def _conformal(rate: str, one: Document) -> list[str]:
    size = one["size"]
    return [percent(float(rate), 0), percent(one["promised"], 0), percent(one["measured"]),
            f"{size:.2f}" if isinstance(size, float) else NOTHING]  # fmt: skip


def _confusion(name: str, one: Document) -> str:
    classes = [str(n) for n in mapping_of(one["class f1"], Path(name))]
    matrix = np.array(one["confusion"], np.int64)
    if matrix.shape != (len(classes), len(classes)):
        raise BadRun(f"{name}: a confusion matrix of {matrix.shape} for {len(classes)} classes.")
    drawn = charts.confusion(matrix, classes)
    return picture(drawn, f"{name}: rows are labels", in_words(matrix, classes))


def in_words(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A confusion matrix as a sentence for each row."""
    said = []
    for name, row in zip(classes, matrix.tolist(), strict=True):
        parts = [f"{n:,} {other}" for n, other in zip(row, classes, strict=True) if n]
        said.append(f"of {sum(row):,} labelled {name}: {', '.join(parts) or 'none'}")
    return "; ".join(said)


_AXES = {
    "roc": ("false alarms (FPR)", "found (TPR)", "ROC: each class against the rest"),
    "precision and recall": ("found (recall)", "right (precision)", "Precision and recall"),
}


def _generated(classes: Document, path: Path) -> Mapping[str, Points]:
    """Curves of what is generated: of any kind, or of the one class that is."""
    names = [name for name in classes if name != REAL]
    name = GENERATED if GENERATED in classes else names[0] if len(names) == 1 else ""
    drawn = part_of(mapping_of(classes.get(name, {}), path), "curves", path)
    return {
        what: (points[0], points[1]) for what, points in drawn.items() if isinstance(points, list)
    }


def _classes(found: Document, path: Path) -> str:
    """A row and curves for each class, and for everything generated."""
    classes = {name: mapping_of(one, path) for name, one in found.items()}
    if not classes:
        return ""
    rows: list[list[str]] = []
    series = dict[str, dict[str, tuple[list[float], list[float]]]]()
    for name, one in classes.items():
        row = [name, number(one["n"])]
        for what in ("auc", "average precision"):
            value = mapping_of(one[what], path)
            bounds = {f"{what} interval": [value["low"], value["high"]]}
            row.append(f"{percent(value['value'])} {bounds_of(bounds, what)}".strip())
        rows.append(row)
        for what, points in part_of(one, "curves", path).items():
            if not isinstance(points, list) or len(points) != 2:
                raise BadRun(f"{path}: a curve of {name} is not two lists of numbers.")
            if name == GENERATED:
                continue
            series.setdefault(what, {})[f"{name} (n = {one['n']})"] = (points[0], points[1])
    drawn = [
        picture(charts.curves_of(series[what], *labels, diagonal=what == "roc"), caption)
        for what, (*labels, caption) in _AXES.items()
        if what in series
    ]
    columns = ("class, against the rest", "videos", "AUC, %", "average precision, %")
    return "<h3>Each class</h3>" + table(columns, rows) + side_by_side(drawn)


def _difference(found: Document) -> str:
    rows = []
    for name, one in found.items():
        values = mapping_of(one, Path(name))
        bounds = {f"{name} interval": [values["low"], values["high"]]}
        rows.append([plain_name(name), percent(values["difference"]), bounds_of(bounds, name),
                     p_value(values["p"])])  # fmt: skip
    return table(("number", "difference, %", "95% interval", "p"), rows)
