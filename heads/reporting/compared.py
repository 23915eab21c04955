"""What `telltale compare` left, as a chapter of a report."""

from collections.abc import Mapping
from pathlib import Path

from heads.errors import BadRun
from heads.reporting.documents import Document, mapping_of, part_of, read_document
from heads.reporting.evaluated import bounds_of
from heads.reporting.parts import (
    NOTHING,
    Section,
    folded,
    number,
    p_value,
    paragraph,
    percent,
    picture,
    table,
)
from heads.reporting.safe import text

_SAID = {"accuracy": "accuracy, %", "auc": "AUC, %"}
_ALL = "all videos"


def comparison(path: Path, name: str) -> Section:
    found = read_document(path)
    detectors = part_of(found, "detectors", path)
    marks = {n: _marked(n, mapping_of(one, path)) for n, one in detectors.items()}
    body = _videos(found, path)
    drawn = path.with_suffix(".svg")
    if drawn.exists():
        body += picture(drawn.read_text(), "AUC on all judged videos, with 95% intervals")
    layouts = found.get("layouts")
    if not isinstance(layouts, list):
        raise BadRun(f"{path} has no layouts.")
    for each in layouts:
        body += _layout(mapping_of(each, path), str(found["against"]), marks, path)
    floors = part_of(found, "floors", path).get("lines", [])
    if isinstance(floors, list):
        body += "<h3>What a result has to beat</h3>" + "".join(map(paragraph, floors))
    body += _costs(detectors, marks, path) + _published(detectors, path)
    missing = part_of(found, "missing", path)
    if missing:
        body += folded("Not compared", table(("detector", "why"), list(missing.items())))
    return Section(name=name, title="Detectors compared", body=body)


def _marked(name: str, one: Document) -> str:
    marks = one.get("marks")
    said = ", ".join(map(str, marks)) if isinstance(marks, list) else ""
    return f"{name} ({said})" if said else name


def _videos(found: Document, path: Path) -> str:
    videos = part_of(found, "videos", path)
    body = paragraph(
        f"All learnt from the same {number(videos['learnt'])} videos, were decided by the same "
        f"{number(videos['decided'])}, and are judged on the same {number(videos['judged'])} "
        f"{videos['split']} videos: those that every one of them has."
    )
    for name, count in part_of(videos, "left out", path).items():
        body += paragraph(f"Left out: {number(count)} videos that {name} lacks.", "note")
    return body


def _layout(one: Document, against: str, marks: Mapping[str, str], path: Path) -> str:
    rows = {name: mapping_of(row, path) for name, row in part_of(one, "rows", path).items()}
    columns = one["columns"]
    if not isinstance(columns, list):
        raise BadRun(f"{path}: a layout has no columns.")
    counts = part_of(one, "counts", path)
    lines = []
    for name, row in rows.items():
        cells = part_of(row, "cells", path)
        pairs = [_pair(mapping_of(cells[column], path), path) for column in columns]
        rank = row.get("rank")
        lines.append([marks.get(name, name), NOTHING if rank is None else rank, *pairs])
    sizes = [_size(counts.get(column)) for column in columns]
    lines.append(["real + generated videos", "", *sizes])
    for method, printed in part_of(one, "paper", path).items():
        theirs = mapping_of(printed, path)
        pairs = [" / ".join(map(str, _list(theirs.get(column)))) for column in columns]
        lines.append([f"paper: {method}", "", *pairs])
    body = f"<h3>{text(one['title'])}: accuracy / AUC, %, means over seeds</h3>"
    body += table(["detector", "rank", *map(str, columns)], lines)
    return body + _tests(rows, against, marks, path)


def _tests(rows: Mapping[str, Document], against: str, marks: Mapping[str, str], path: Path) -> str:
    """Over all videos, with intervals."""
    lines = []
    for name, row in rows.items():
        whole = mapping_of(part_of(row, "cells", path)[_ALL], path)
        tests = part_of(row, "tests", path)
        line = [marks.get(name, name)]
        for metric in _SAID:
            cell = mapping_of(whole[metric], path)
            bounds = {f"{metric} interval": [cell["low"], cell["high"]]}
            line.append(f"{percent(cell['value'])} {bounds_of(bounds, metric)}".strip())
            test = part_of(tests, metric, path)
            minus = f"{percent(test['difference'])} (p {p_value(test['p'])})" if test else NOTHING
            line.append(minus)
        line.append(number(mapping_of(whole["accuracy"], path)["n"]))
        lines.append(line)
    columns = ["detector"]
    for title in _SAID.values():
        columns += [f"{title}, all videos, 95%", f"minus {against}"]
    return table([*columns, "videos"], lines)


def _pair(cell: Document, path: Path) -> str:
    return " / ".join(percent(mapping_of(cell[metric], path)["value"]) for metric in _SAID)


def _size(counts: object) -> str:
    return " + ".join(map(number, _list(counts)))


def _list(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def _costs(detectors: Document, marks: Mapping[str, str], path: Path) -> str:
    lines = []
    for name, one in detectors.items():
        cost = part_of(mapping_of(one, path), "cost", path)
        lines.append(
            [marks[name], number(cost["bytes a video"]), number(cost["seconds to learn"]),
             number(cost["seconds a video"])]
        )  # fmt: skip
    columns = ("detector", "bytes of features a video", "seconds to learn, a seed",
               "seconds of the head, a video")  # fmt: skip
    return folded("What each costs", table(columns, lines))


def _published(detectors: Document, path: Path) -> str:
    lines = [
        [name, *_list(each)]
        for name, one in detectors.items()
        for each in _list(mapping_of(one, path).get("published"))
    ]
    columns = ("detector", "figure", "published", "source")
    return folded("What their authors report", table(columns, lines)) if lines else ""
