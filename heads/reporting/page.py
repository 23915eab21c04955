"""One self-contained HTML page of all that a run's folder holds.

It opens from disk and asks the network for nothing: a policy in the page forbids it, and allows
only the very script and style that are part of this package, by their hashes. Text from files
reaches the page through `reporting.parts.text`, or as JSON that the script writes as text.

Not promised: a page of a run that is being written to, or one that shows more than the newest
names in `reporting.files.NAMES`.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files as resources
from pathlib import Path
from string import Template

from features_store.installing import DISTRIBUTION
from features_store.outputs import Product
from heads.errors import BadRun
from heads.reporting.files import RunFiles, find
from heads.reporting.gallery import gallery, groups
from heads.reporting.known import known
from heads.reporting.parts import Section, paragraph
from heads.reporting.safe import text
from heads.reporting.scores import SUFFIXES, Scores, read_scores
from heads.reporting.sections import sections, warnings
from heads.reporting.table import score_table
from heads.reporting.time_lines import time_lines
from heads.reporting.verdicts import overview

Bar = Callable[[int], Callable[[], object]]
"""Told how many steps there will be, gives what is called after each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came of it."""

    page: Path
    sections: Sequence[str]
    """Their titles."""
    problems: Sequence[str]
    """Files that were found and could not be shown, and why."""


def write_report(
    run: Path, out: Path | None = None, bar: Bar | None = None, *, overwrite: bool = False
) -> Written:
    """Gather what `run` holds; the page goes to RUN/report.html unless `out` says otherwise.

    A page that an earlier report made of this run is replaced, anything else is not.
    """
    made_from = {"run": str(run.absolute())}
    product = Product(out or run / "report.html", "report", overwrite=overwrite)
    product.check(made_from)
    files = find(run)
    found, problems = [], []
    for section, why in sections(files):
        if section is None:
            problems.append(why)
        else:
            found.append(section)
    scored, trouble = _scored(files, bar or (lambda total: lambda: None))
    judged = [one for one in found if one.name.startswith("evaluation")]
    found = [*judged, *scored, *found[len(judged) :]]
    problems += trouble
    if not found:
        raise BadRun(f"Nothing in {run} can be shown. {' '.join(problems)}")
    product.write([_page(files, found, problems).encode(errors="replace")], made_from)
    return Written(page=product.path, sections=[one.title for one in found], problems=problems)


def _scored(files: RunFiles, bar: Bar) -> tuple[list[Section], list[str]]:
    """Chapters of the first file of scores; others hold the same in another format, or more."""
    places = files.of(*(f"scores{suffix}" for suffix in SUFFIXES))
    places.sort(key=lambda place: len(place.parts))
    if not places:
        return [], []
    problems = [
        f"{other}: scores of {places[0]} are shown, not these; report that folder by itself."
        for other in places[1:]
        if other.parent != places[0].parent
    ]
    try:
        scores = read_scores(places[0])
        told = known(places[0], scores.texts["id"], files.of("bundle.json"))
        scores = replace(scores, known=told)
    except BadRun as error:
        return [], [str(error), *problems]
    return list(_score_sections(scores, places[0].parent, bar)), problems


def _score_sections(scores: Scores, folder: Path, bar: Bar) -> list[Section]:
    made = [Section(name="verdicts", title="Verdicts", body=overview(scores))]
    if bars := time_lines(scores):
        made.append(Section(name="time", title="Long videos", body=bars))
    chosen = groups(scores)
    if chosen:
        done = bar(sum(len(group.rows) for group in chosen))
        body = gallery(scores, chosen, folder, done)
        made.append(Section(name="gallery", title="Worth a look", body=body))
    return [*made, Section(name="table", title="Every video", body=score_table(scores))]


def _page(files: RunFiles, found: Sequence[Section], problems: Sequence[str]) -> str:
    return document(files.run.resolve().name, found, _notices(files, problems))


def document(title: str, found: Sequence[Section], notices: str = "") -> str:
    """A whole page; `notices` are HTML."""
    style, script = _part("css"), _part("js")
    contents = "".join(f'<li><a href="#{one.name}">{text(one.title)}</a></li>' for one in found)
    return Template(_part("html")).substitute(
        title=text(title),
        policy=policy(),
        style=style,
        script=script,
        made=text(f"Telltale {version(DISTRIBUTION)} · {datetime.now(UTC):%d %B %Y, %H:%M} UTC"),
        notices=notices,
        contents=contents,
        sections="".join(one.html() for one in found),
    )


def policy() -> str:
    """What the browser of a page of `document` may do: run its own script, by hash, and nothing
    else."""
    style, script = _hash(_part("css")), _hash(_part("js"))
    return (
        f"default-src 'none'; img-src data:; style-src '{style}'; script-src '{script}'; "
        f"base-uri 'none'; form-action 'none'"
    )


def _notices(files: RunFiles, problems: Sequence[str]) -> str:
    found = ""
    for words in warnings(files):
        found += f'<div class="notice" role="note">{paragraph(words)}</div>'
    if problems:
        listed = "".join(f"<li>{text(why)}</li>" for why in problems)
        found += f'<div class="notice" role="note"><p>Not shown:</p><ul>{listed}</ul></div>'
    return found


def _part(suffix: str) -> str:
    return (resources("heads.reporting") / f"page.{suffix}").read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
