"""What is said about a file: numbers as JSON, and a page for people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from extract.branch import Branch
from extract.errors import one_line
from extract.manifest.manifest import Manifest
from extract.running.pipeline import Settings
from heads.bundle import Bundle
from heads.reporting.page import document, policy
from heads.reporting.parts import Section, paragraph, percent, table
from heads.reporting.safe import text
from heads.reporting.time_lines import bar
from heads.reporting.why import evidence_section, explained_sections, notices
from heads.scoring.about import about
from heads.scoring.captions import caption
from heads.scoring.evidence import evidence
from heads.scoring.explain import Explanation, explain, explains
from heads.scoring.meaning import Meaning
from heads.scoring.scorer import Scorer
from heads.scoring.screen import NO_VERDICT, papers, screen, verdict
from heads.scoring.timelines import Timeline, timelines
from heads.serving.messages import Answer, Progress, Tell
from heads.serving.naming import NAME
from heads.serving.pictures import Moment, moments

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A file, scored: what an answer is made of."""

    bundle: Bundle
    branches: Sequence[Branch]
    settings: Settings
    scorer: Scorer
    plan: Mapping[str, Any]
    name: str
    """Of the bundle's folder."""
    id: str
    """Of the file in the manifest; in the rows it is called `NAME`."""
    manifest: Manifest
    rows: Sequence[Row]
    tell: Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A file's verdict."""

    line: str
    row: Row
    """Of the file, or of its worst segment."""
    timeline: Timeline | None


def answered(looked: Looked, key: str) -> Answer:
    meaning = Meaning.of(looked.bundle, looked.name)
    said = _said(looked, meaning)
    there = said.row["confidence"] is not None
    found = _explained(looked, said, meaning) if there else None
    looked.tell(Progress(step="drawing"))
    seen = moments(_only(looked, said.row), looked.settings) if there else []
    beside = evidence(looked.manifest.videos[0].path, str(looked.manifest.root))
    return Answer(
        key=key,
        document=_document(looked, said, meaning) | {"evidence": beside},
        page=_page(looked, said, meaning, seen, found, beside),
        policy=policy(),
    )


def _said(looked: Looked, meaning: Meaning) -> Said:
    timeline = next(iter(timelines(looked.rows)), None)
    if timeline is None or timeline.worst is None:
        (row, *_) = looked.rows
        return Said(line=_plain(verdict(row, meaning), row["id"]), row=row, timeline=timeline)
    name = f"{timeline.id}{timeline.worst.segment}"
    (row,) = (row for row in looked.rows if row["id"] == name)
    line = NO_VERDICT if meaning.no_verdict else _plain(timeline.lines()[0], timeline.id)
    return Said(line=line, row=row, timeline=timeline)


def _plain(line: str, name: str) -> str:
    """Without the name: what is said is said of every file with this content."""
    return line.removeprefix(f"{one_line(name)}: ").removeprefix(f"{name}: ")


def _document(looked: Looked, said: Said, meaning: Meaning) -> dict[str, Any]:
    """Nothing of where files lie on this machine."""
    made = about(looked.scorer, looked.plan, looked.name)
    rows = [{n: v for n, v in row.items() if n not in ("path", "label")} for row in looked.rows]
    told = {
        "line": said.line,
        "bundle": meaning.content,
        "detector": meaning.name,
        "fingerprints": dict(looked.bundle.about.fingerprints),
        "papers": papers(meaning),
        "rows": rows,
        "timeline": None if said.timeline is None else _line(said.timeline),
        "about": {name: value for name, value in made.items() if name != "place"},
    }
    return {name: _finite(value) for name, value in told.items()}


def _finite(value: Any) -> Any:  # noqa: ANN401, whatever JSON has
    """JSON knows no infinite number, as a threshold may be."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def _line(timeline: Timeline) -> dict[str, Any]:
    row = timeline.row()
    spans = [
        {
            "start": span.segment.start, "end": span.segment.end, "verdict": span.verdict,
            "forgery": span.forgery, "generated": span.generated,
        }
        for span in timeline.spans
    ]  # fmt: skip
    return {name: row[name] for name in ("verdict", "share", "first", "worst")} | {"spans": spans}


def _explained(looked: Looked, said: Said, meaning: Meaning) -> Explanation | None:
    if not explains(looked.bundle.head):
        return None
    looked.tell(Progress(step="explaining"))
    words = caption(said.row, meaning, said.timeline)
    words = replace(words, title=words.title.removeprefix(NAME))  # nobody fills it in on a picture
    manifest = _only(looked, said.row)
    return explain(looked.bundle, looked.branches, manifest, looked.settings, words)


def _only(looked: Looked, row: Row) -> Manifest:
    """What a row is of."""
    name = looked.id + str(row["id"]).removeprefix(NAME)
    (video,) = (video for video in looked.manifest.videos if video.id == name)
    return replace(looked.manifest, videos=(video,))


def _page(
    looked: Looked,
    said: Said,
    meaning: Meaning,
    seen: Sequence[Moment],
    found: Explanation | None,
    beside: Sequence[str],
) -> str:
    words = caption(said.row, meaning, said.timeline)
    name = said.timeline.id if said.timeline else said.row["id"]
    sections = [_verdict_section(said, meaning, looked.bundle.classes)]
    if said.timeline is not None:
        sections.append(
            Section(
                name="line",
                title="Time line",
                body=f'<div class="timeline">{bar(said.timeline)}</div>',
            )
        )
    if seen:
        sections.append(_frames_section(said, seen))
    if found is not None:
        words = replace(words, lines=[said.line, *words.lines[1:]])
        sections += explained_sections(words, found, looked.bundle.classes)
    sections.append(evidence_section(beside))
    return document(name, sections, notices(words))


def _verdict_section(said: Said, meaning: Meaning, classes: Sequence[str]) -> Section:
    body = f'<p class="verdict-line">{text(said.line)}</p>'
    if said.row["confidence"] is not None and not meaning.no_verdict:
        rows = [[name, percent(said.row[f"p_{name}"])] for name in classes]
        of = " (of the worst segment)" if said.timeline is not None else ""
        body += table(["class", f"probability, %{of}"], rows)
    body += "".join(paragraph(line, "note") for line in _details(said.row, meaning, classes))
    body += paragraph(f"Decided by bundle {meaning.content}.", "note")
    return Section(name="verdict", title="Verdict", body=body)


def _details(row: Row, meaning: Meaning, classes: Sequence[str]) -> list[str]:
    """What a screen says below the classes; the warning stands above everything else."""
    found = screen(row, meaning)[len(classes) + 3 :] or papers(meaning)
    return [line.strip() for line in found if line.strip() != meaning.note]


def _frames_section(said: Said, seen: Sequence[Moment]) -> Section:
    where = " of the worst segment" if said.timeline is not None else ""
    strip = "".join(
        f'<figure><img alt="frame at {one.time}" src="{one.data_url}">'
        f"<figcaption>{one.time}</figcaption></figure>"
        for one in seen
    )
    note = paragraph(f"Moments{where} that were looked at; the verdict rests on them.", "note")
    return Section(
        name="frames", title="Frames that decided", body=f'{note}<div class="moments">{strip}</div>'
    )
