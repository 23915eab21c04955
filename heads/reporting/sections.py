"""What training, evaluation, ablation, tuning and the audit left, as chapters of a report."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from heads.bundle import warning
from heads.errors import BadRun
from heads.figures import charts
from heads.judging.evaluation import ALL, AVERAGE, paper_numbers
from heads.reporting.files import RunFiles
from heads.reporting.parts import (
    NOTHING,
    Big,
    Section,
    facts,
    folded,
    headline,
    number,
    paragraph,
    percent,
    picture,
    side_by_side,
    table,
    text,
)  # fmt: skip

Document = Mapping[str, object]
SHARES = ("accuracy", "auc", "f1", "binary_accuracy", "binary_auc")
_SAID = {"auc": "AUC", "f1": "F1"}
_TUNING = {
    "history.svg": "Every finished trial, and the best so far",
    "importances.svg": "How much each setting mattered",
    "parallel.svg": "Settings of the best tenth",
    "front.svg": "Two objectives against each other",
}


def sections(files: RunFiles) -> Iterator[tuple[Section | None, str]]:
    """Each chapter that there is; where one cannot be made, nothing and the reason."""
    makers: Mapping[str, Callable[[Path, str], Section]] = {
        "evaluation.json": _evaluation,
        "cross.svg": _cross,
        "ablation.csv": _ablation,
        "tune.json": _tuning,
        "audit.txt": _audit,
        "bundle.json": _bundle,
    }
    for name, make in makers.items():
        places = files.of(name)
        for count, path in enumerate(places, 1):
            where = files.title(path) if len(places) > 1 else ""
            try:
                section = make(path, f"{path.stem}-{count}")
            except (BadRun, OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
                why = f"{path} is not as its command writes it: {error!r}"
                why = str(error) if isinstance(error, BadRun) else why
                yield None, why
                continue
            title = f"{section.title}: {where}" if where else section.title
            yield Section(name=section.name, title=title, body=section.body), ""


def warnings(files: RunFiles) -> list[str]:
    """What has to be said of the branches of any bundle of the run."""
    found = set()
    for path in files.of("bundle.json"):
        try:
            branches = _mapping(_document(path).get("branches", {}), path)
        except BadRun:  # its own chapter says so
            continue
        found.add(warning([str(request) for request in branches.values()]).capitalize())
    return sorted(found - {""})


def _bundle(path: Path, name: str) -> Section:
    about = _document(path)
    what = {
        "head": about["head"], "classes": about["classes"], "label scheme": about["scheme"],
        "protocol": about["protocol"], "branches": list(_part(about, "branches", path).values()),
        "temperature": about.get("temperature"),
    }  # fmt: skip
    body = facts(what)
    metrics = _part(about, "metrics", path)
    if metrics:
        body += "<h3>What training reported</h3>"
        body += table(("figure", "value"), [(k, number(v)) for k, v in metrics.items()])
    provenance = dict(_part(about, "provenance", path))
    packages = provenance.pop("packages", {})
    more = facts(provenance) + facts({"packages": packages})
    more += facts({f"fingerprint of {k}": v for k, v in _part(about, "fingerprints", path).items()})
    body += folded("Settings of the head", facts(_part(about, "config", path)))
    body += folded("Where it comes from", more)
    return Section(name=name, title="The head", body=body)


def _evaluation(path: Path, name: str) -> Section:
    document = _document(path)
    judged = {"": document} if "sources" in document else document
    difference = judged.get("difference")
    body = ""
    for bundle, found in judged.items():
        if bundle == "difference":
            continue
        body += f"<h3>{text(bundle)}</h3>" if len(judged) > 1 else ""
        body += _judged(_mapping(found, path), path)
    if difference is not None:
        body += "<h3>Second minus first, paired</h3>" + _difference(_mapping(difference, path))
    return Section(name=name, title="Evaluation", body=body)


def _judged(found: Document, path: Path) -> str:
    sources = {n: _mapping(one, path) for n, one in _part(found, "sources", path).items()}
    whole = sources[ALL]
    big = [
        Big(label="accuracy, %", value=percent(whole["accuracy"]), note=_range(whole, "accuracy")),
        Big(label="AUC, %", value=percent(whole["auc"]), note=_range(whole, "auc")),
        Big(label="real or not, AUC, %", value=percent(whole["binary_auc"])),
        Big(label="calibration error, %", value=percent(found.get("calibration error"))),
        Big(label="videos", value=number(whole["videos"])),
    ]
    body = headline(big) + paragraph("In brackets: 95% bootstrap intervals.", "note")
    body += _source_table(sources, _part(found, "average over sources", path))
    for what, why in _part(whole, "undefined", path).items():
        body += paragraph(f"{what} is not defined: {why}.", "note")
    rates = _part(found, "conformal", path)
    if rates:
        rows = [_conformal(rate, _mapping(one, path)) for rate, one in rates.items()]
        columns = ("error rate asked, %", "coverage promised, %", "measured, %", "classes a set")
        body += "<h3>Sets with a promised error rate</h3>" + table(columns, rows)
    body += "<h3>What is taken for what</h3>" + _confusion(ALL, whole)
    others = [_confusion(name, one) for name, one in sources.items() if name != ALL]
    return body + folded("The same for each source", side_by_side(others))


def _source_table(sources: Mapping[str, Document], average: Document) -> str:
    classes = list(_mapping(sources[ALL]["class f1"], Path("class f1")))
    ours = any(name.endswith("_human_dim") for name in sources)  # HFV's folders
    paper = paper_numbers(classes) if ours else {}
    order = [*(name for name in sources if name != ALL), AVERAGE, ALL]
    rows = []
    for name in order:
        one = average if name == AVERAGE else sources[name]
        row = [name, number(one.get("videos", ""))]
        row += [f"{percent(one.get(n))} {_range(one, n)}".strip() for n in SHARES]
        row += [percent(value / 100) for value in paper.get(name, ())] or ["", ""]
        rows.append(row if paper else row[:-2])
    columns = ["source", "videos", "accuracy, %", "AUC, %", "F1, %", "real or not, accuracy, %",
               "real or not, AUC, %"]  # fmt: skip
    columns += ["paper: accuracy, %", "paper: AUC, %"] if paper else []
    return table(columns, rows, strong=2)


def _range(one: Document, what: str) -> str:
    bounds = one.get(f"{what} interval")
    if not isinstance(bounds, Sequence) or len(bounds) != 2 or None in bounds:
        return ""
    return f"[{percent(bounds[0])}, {percent(bounds[1])}]"


def _conformal(rate: str, one: Document) -> list[str]:
    size = one["size"]
    return [percent(float(rate), 0), percent(one["promised"], 0), percent(one["measured"]),
            f"{size:.2f}" if isinstance(size, float) else NOTHING]  # fmt: skip


def _confusion(name: str, one: Document) -> str:
    classes = [str(n) for n in _mapping(one["class f1"], Path(name))]
    matrix = np.array(one["confusion"], np.int64)
    if matrix.shape != (len(classes), len(classes)):
        raise BadRun(f"{name}: a confusion matrix of {matrix.shape} for {len(classes)} classes.")
    return picture(charts.confusion(matrix, classes), f"{name}: rows are the truth")


def _difference(found: Document) -> str:
    rows = []
    for name, one in found.items():
        values = _mapping(one, Path(name))
        bounds = {f"{name} interval": [values["low"], values["high"]]}
        rows.append([name, percent(values["difference"]), _range(bounds, name),
                     number(values["p"])])  # fmt: skip
    return table(("number", "difference, %", "95% interval", "p"), rows)


def _ablation(path: Path, name: str) -> Section:
    body = ""
    drawn = path.with_name("ablation.svg")
    if drawn.exists():
        body += picture(drawn.read_text(), "Means over seeds with 95% intervals")
    with path.open(newline="") as file:
        runs = list(csv.DictReader(file))
    cells: dict[str, dict[str, str]] = {}
    for run in runs:
        row = cells.setdefault(run["row"], {})
        half = float(run["half_width"])
        row[run["metric"]] = percent(float(run["mean"])) + (
            "" if np.isnan(half) else f" ± {percent(half)}"
        )
        if run["metric"] == "auc" and not np.isnan(float(run["gain"])):
            p = float(run["p"])
            gain = f"{100 * float(run['gain']):+.1f}"
            row["gain in AUC (p)"] = gain if np.isnan(p) else f"{gain} ({p:.3f})"
    columns = list(dict.fromkeys(metric for row in cells.values() for metric in row))
    rows = [[name, *(row.get(column, "") for column in columns)] for name, row in cells.items()]
    titles = [c if "(" in c else f"{_SAID.get(c, c)}, %" for c in columns]
    body += table(["switches", *titles], rows)
    return Section(name=name, title="Ablation", body=body)


def _tuning(path: Path, name: str) -> Section:
    found = dict(_document(path))
    body = "<h3>Best settings</h3>" + facts(_mapping(found.pop("settings", {}), path))
    body += "<h3>What they reach</h3>" + facts(found)
    drawn = [
        picture((path.with_name(file)).read_text(), caption)
        for file, caption in _TUNING.items()
        if path.with_name(file).exists()
    ]
    return Section(name=name, title="Tuning", body=body + side_by_side(drawn, "wide"))


def _cross(path: Path, name: str) -> Section:
    drawn = picture(path.read_text(), "Accuracy in percent: learnt from rows, tested on columns")
    return Section(name=name, title="Across generators", body=drawn)


def _audit(path: Path, name: str) -> Section:
    words = paragraph("What facts about the files alone give away; every head has to beat it.")
    body = f"{words}<pre>{text(path.read_text())}</pre>"
    return Section(name=name, title="Shortcut audit", body=body)


def _document(path: Path) -> Document:
    try:
        return _mapping(json.loads(path.read_text()), path)
    except (ValueError, RecursionError) as error:
        raise BadRun(f"{path} is no JSON: {error}") from error


def _part(document: Document, name: str, path: Path) -> Document:
    return _mapping(document.get(name, {}), path)


def _mapping(found: object, path: Path) -> Document:
    if not isinstance(found, Mapping):
        raise BadRun(f"{path} holds a {type(found).__name__} where names and values belong.")
    return found
