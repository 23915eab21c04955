"""The page beside a picture that explains a verdict: the same, with numbers that can be copied."""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from heads.figures.why import Caption
from heads.reporting.page import document
from heads.reporting.parts import Section, paragraph, table
from heads.reporting.safe import text
from heads.scoring.evidence import ABOUT, TITLE
from heads.scoring.explain import Explanation


def twin(picture: Path) -> Path:
    """Where the page lies."""
    return picture.with_suffix(".html")


def explained_page(
    caption: Caption, found: Explanation, classes: Sequence[str], evidence: Sequence[str] = ()
) -> str:
    """One video's verdict as a page that needs nothing else; `evidence`: what is known beside."""
    verdict, *more = caption.lines
    body = paragraph(verdict) + "".join(paragraph(line, "note") for line in more)
    first, *rest = explained_sections(caption, found, classes)
    sections = [Section(name="verdict", title="Verdict", body=body + first.body), *rest]
    if evidence:
        sections.append(evidence_section(evidence))
    return document(caption.title, sections, notices(caption))


def explained_sections(
    caption: Caption, found: Explanation, classes: Sequence[str]
) -> list[Section]:
    """The picture, and the same in numbers or words."""
    image = base64.b64encode(found.preview).decode()
    picture = (
        f'<figure class="photo" tabindex="0">'
        f'<img alt="{text(f"{_shown(found)}: {caption.lines[0]}")}" '
        f'src="data:image/png;base64,{image}"></figure>'
    )
    return [
        Section(name="why", title="Why", body=picture),
        Section(name="shares", title="What each part adds", body=_shares(found, classes))
        if found.shares
        else Section(name="findings", title="What was found", body=_findings(found)),
    ]


def notices(caption: Caption) -> str:
    """What everybody has to know, above everything else."""
    found = [words for words in (caption.warning, caption.stamp) if words]
    return "".join(f'<div class="notice" role="note">{paragraph(words)}</div>' for words in found)


def evidence_section(lines: Sequence[str]) -> Section:
    """What is known besides the networks."""
    listed = "".join(f"<li>{text(line.strip())}</li>" for line in lines)
    body = f"{paragraph(ABOUT, 'note')}<ul>{listed}</ul>"
    return Section(name="evidence", title=TITLE, body=body)


def _shown(found: Explanation) -> str:
    return "frames, attention and shares" if found.shares else "boxes on frames, and a time line"


def _findings(found: Explanation) -> str:
    return "".join(paragraph(line.strip(), "note") for line in found.lines if line.strip())


def _shares(found: Explanation, classes: Sequence[str]) -> str:
    total = np.sum(list(found.shares.values()), axis=0)
    rows = [
        [name, *(f"{value:+.3f}" for value in values)]
        for name, values in [*found.shares.items(), ("sum", total)]
    ]
    note = (
        "Of each class's logit, against the average training video and against the mean of all "
        "classes; bias is what the average training video has. They add up exactly."
    )
    return paragraph(note, "note") + table(["part", *classes], rows, strong=1)
