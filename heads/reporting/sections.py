"""What training, evaluation, ablation, tuning and the audit left, as chapters of a report."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from heads.errors import BadRun
from heads.figures import charts
from heads.judging.papers import OperatingPoint
from heads.measuring.metrics import plain_name
from heads.parts.model_card import warning
from heads.reporting.compared import comparison
from heads.reporting.documents import Document, mapping_of, part_of, read_document
from heads.reporting.evaluated import bounds_of, evaluation
from heads.reporting.files import RunFiles
from heads.reporting.parts import (
    Section,
    facts,
    folded,
    number,
    p_value,
    paragraph,
    percent,
    picture,
    side_by_side,
    table,
)  # fmt: skip
from heads.reporting.safe import text

_TUNING = {
    "history.svg": "Every finished trial, and the best so far",
    "importances.svg": "How much each setting mattered",
    "front.svg": "Two objectives against each other",
    "settings.svg": "Each setting and what was reached with it; the best tenth in colour",
}
_WIDE = "settings.svg"
_ABLATION = "Means over seeds; 95% intervals over videos and seeds; dotted: the first row's mean"


def sections(files: RunFiles) -> Iterator[tuple[Section | None, str]]:
    """Each chapter that there is; where one cannot be made, nothing and the reason."""
    makers: Mapping[str, Callable[[Path, str], Section]] = {
        "evaluation.json": evaluation,
        "comparison.json": comparison,
        "cross.svg": _cross,
        "robustness.json": _robustness,
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
            branches = mapping_of(read_document(path).get("branches", {}), path)
        except BadRun:  # its own chapter says so
            continue
        found.add(warning([str(request) for request in branches.values()]).capitalize())
    return sorted(found - {""})


def _bundle(path: Path, name: str) -> Section:
    about = read_document(path)
    what = {
        "head": about["head"], "classes": about["classes"], "label scheme": about["scheme"],
        "protocol": about["protocol"], "branches": list(part_of(about, "branches", path).values()),
        "temperature": about.get("temperature"),
    }  # fmt: skip
    body = facts(what)
    body += _learning(path.with_name("learning.json")) + _promises(about)
    metrics = part_of(about, "metrics", path)
    if metrics:
        body += "<h3>What training reported</h3>" + table(("figure", "value"), _reported(metrics))
    provenance = dict(part_of(about, "provenance", path))
    packages = provenance.pop("packages", {})
    more = facts(provenance) + facts({"packages": packages})
    more += facts(
        {f"fingerprint of {k}": v for k, v in part_of(about, "fingerprints", path).items()}
    )
    body += folded("Settings of the head", facts(part_of(about, "config", path)))
    body += folded("Where it comes from", more)
    return Section(name=name, title="The head", body=body)


def _reported(metrics: Document) -> list[tuple[str, str]]:
    """Shares in percent, and of how many videos they are."""
    videos = metrics.get("validation videos")
    rows = []
    for name, value in metrics.items():
        title = plain_name(name)
        share = isinstance(value, float) and name.startswith("validation ")
        of = f" of {number(videos)} videos" if share and videos else ""
        rows.append((f"{title}, %{of}", percent(value)) if share else (title, number(value)))
    return rows


def _promises(about: Document) -> str:
    """What calibration rests on, and thresholds for false alarms."""
    calibration, points = about.get("calibration"), about.get("operating")
    said = "No calibration: it gives no sets of classes with a promised error rate."
    if isinstance(calibration, Mapping) and calibration:
        said = f"Calibrated by {calibration['videos']} videos: {calibration['from']}."
    elif about.get("conformal"):
        said = "Calibrated by the videos that chose the epoch: promises hold for such videos alone."
    body = "<h3>What it promises</h3>" + paragraph(said)
    for point in points if isinstance(points, list) else ():
        body += paragraph(str(OperatingPoint.read(mapping_of(point, Path("operating")))))
    return body


def _learning(path: Path) -> str:
    """Curves over epochs, a picture for each number."""
    if not path.exists():
        return ""
    seeds = json.loads(path.read_text())
    names = [name for name in seeds[0] if name != "seed"]
    return side_by_side(
        [
            picture(
                charts.lines(
                    {f"seed {one['seed']}": one[name] for one in seeds}, "epoch", plain_name(name)
                ),
                f"{plain_name(name)} by epoch"
                f"{', on validation videos' if 'loss' not in name else ''}",
            )
            for name in names
        ]
    )


def _ablation(path: Path, name: str) -> Section:
    body = ""
    drawn = path.with_name("ablation.svg")
    if drawn.exists():
        body += picture(drawn.read_text(), _ABLATION)
    with path.open(newline="") as file:
        runs = list(csv.DictReader(file))
    cells: dict[str, dict[str, str]] = {}
    for run in runs:
        row = cells.setdefault(run["row"], {})
        row[run["metric"]] = percent(float(run["mean"])) + _ends(run, "low", "high")
        if run["metric"] == "auc" and not np.isnan(float(run["gain"])):
            p = float(run["p"])
            gain = f"{100 * float(run['gain']):+.1f}" + _ends(run, "gain_low", "gain_high")
            row["gain in AUC (p)"] = gain if np.isnan(p) else f"{gain} ({p_value(p)})"
    columns = list(dict.fromkeys(metric for row in cells.values() for metric in row))
    rows = [[name, *(row.get(column, "") for column in columns)] for name, row in cells.items()]
    titles = [c if "(" in c else f"{plain_name(c)}, %" for c in columns]
    body += table(["switches", *titles], rows)
    sizes = {(run["videos"], run["seeds"]) for run in runs if run.get("videos")}
    for videos, seeds in sorted(sizes):
        body += paragraph(f"{videos} videos, {seeds} seeds; intervals of 95% over both")
    return Section(name=name, title="Ablation", body=body)


def _ends(run: Mapping[str, str], low: str, high: str) -> str:
    """An interval's, in percent; nothing where there is none, or in a file of an early version."""
    ends = [float(run.get(name) or "nan") for name in (low, high)]
    return "" if np.isnan(ends).any() else f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def _tuning(path: Path, name: str) -> Section:
    found = dict(read_document(path))
    settings = mapping_of(found.pop("settings", {}), path)
    body = "<h3>Best settings</h3>" + facts({k: _short(v) for k, v in settings.items()})
    body += "<h3>What they reach</h3>" + facts(_in_percent(found))
    drawn = {
        file: picture((path.with_name(file)).read_text(), caption)
        for file, caption in _TUNING.items()
        if path.with_name(file).exists()
    }
    whole = drawn.pop(_WIDE, "")
    body += side_by_side(list(drawn.values()), "wide") + whole
    return Section(name=name, title="Tuning", body=body)


def _in_percent(found: Mapping[str, object]) -> dict[str, object]:
    """Every number that was searched by is a share; so are those that it reached elsewhere."""
    said: dict[str, object] = {}
    for name, value in found.items():
        several = value if isinstance(value, list) else [value]
        if any(isinstance(one, float) for one in several):
            said[f"{name}, %"] = ", ".join(percent(one) for one in several)
        else:
            said[name] = value
    return said


def _short(value: object) -> object:
    """A number that was written in full, as people read it."""
    try:
        return f"{float(str(value)):.4g}" if "." in str(value) else value
    except ValueError:
        return value


def _cross(path: Path, name: str) -> Section:
    caption = (
        "In percent: learnt from rows, tested on columns, with how many real + generated videos. "
        "What is empty was not tested: a head is not asked about what it learnt from. Without "
        "looking, the commonest class is right as often as its own row says, and AUC is 50."
    )
    drawn = picture(path.read_text(), caption)
    return Section(name=name, title="Across generators", body=drawn)


def _robustness(path: Path, name: str) -> Section:
    columns = part_of(read_document(path), "columns", path)
    rows = []
    for damage, found in columns.items():
        one = mapping_of(found, path)
        numbers = (mapping_of(one[what] or {}, path) for what in ("accuracy", "auc", "flips"))
        cells = [
            f"{percent(n['value'])} {bounds_of({'x interval': _bounds(n)}, 'x')}" for n in numbers
        ]
        n, published = part_of(one, "accuracy", path)["n"], one.get("paper, table 5")
        rows.append([damage, number(n), *cells, number(published) if published else ""])
    titles = ("damage", "videos", "accuracy, %", "AUC, %", "verdicts that flip, %",
              "paper: AUC on CogVideoX-5B, %")  # fmt: skip
    body = table(titles, rows)
    drawn = path.with_name("robustness.svg")
    if drawn.exists():
        body += picture(drawn.read_text(), "AUC by strength, with 95% intervals")
    return Section(name=name, title="Robustness", body=body)


def _bounds(one: Document) -> list[object]:
    return [one.get("low"), one.get("high")]


def _audit(path: Path, name: str) -> Section:
    words = paragraph("What facts about the files alone give away; every head has to beat it.")
    body = f'{words}<pre tabindex="0">{text(path.read_text())}</pre>'
    return Section(name=name, title="Shortcut audit", body=body)
