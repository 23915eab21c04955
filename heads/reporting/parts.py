"""The pieces a report is made of, as HTML in which text from files can only ever be text.

`safe.text` is the one door through which anything that was read from a file comes onto the page.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heads.figures.charts import GREY
from heads.reporting.safe import text

NOTHING = "—"
_FEW = 5
"""Columns that a line of text is wide enough for."""
_INK = "#4a525c"
"""What the figures' grey becomes: dark enough on a light page, and the reverse where the page turns
figures over."""


def percent(value: object, digits: int = 1) -> str:
    """A share in [0, 1] as percent; what is no number is a dash."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return NOTHING
    return f"{100 * value:.{digits}f}"


def p_value(value: object) -> str:
    """Of a test; nobody needs more of a small one than that it is small."""
    if not isinstance(value, int | float) or math.isnan(value):
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def number(value: object) -> str:
    """Anything that JSON can hold, short."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number(one)}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(number(one) for one in value)
    return NOTHING if value is None else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A chapter of the page with its entry in the contents."""

    name: str
    """For links; letters and dashes."""
    title: str
    body: str

    def html(self) -> str:
        return (
            f'<section id="{self.name}" aria-labelledby="{self.name}-title">'
            f'<h2 id="{self.name}-title">{text(self.title)}</h2>{self.body}</section>'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Big:
    """A number that deserves to be large."""

    label: str
    value: str
    note: str = ""

    def html(self) -> str:
        note = f"<small>{text(self.note)}</small>" if self.note else ""
        return f"<div><dt>{text(self.label)}</dt><dd>{text(self.value)}{note}</dd></div>"


def headline(found: Sequence[Big]) -> str:
    return f'<dl class="headline">{"".join(one.html() for one in found)}</dl>'


def facts(found: Mapping[str, object]) -> str:
    """Name and value, one under another."""
    rows = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(number(value))}</dd></div>"
        for name, value in found.items()
    )
    return f'<dl class="facts">{rows}</dl>'


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], strong: int = 0) -> str:
    """The first column names the row; the last `strong` rows sum up."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in columns)
    lines = []
    for place, row in enumerate(rows):
        cells = "".join(f"<td>{text(cell)}</td>" for cell in row[1:])
        kind = ' class="strong"' if place >= len(rows) - strong else ""
        lines.append(f'<tr{kind}><th scope="row">{text(row[0])}</th>{cells}</tr>')
    said = f"table by {columns[0]}"
    few = " few" if len(columns) <= _FEW else ""
    return (
        f'<div class="scroll{few}" tabindex="0" role="group" aria-label="{text(said)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def picture(svg: str, caption: str, alt: str = "") -> str:
    """A vector figure; `alt` says in words what it shows. Inside an image no script runs and
    nothing is fetched, whatever the file says; on a dark page the style sheet turns it over."""
    drawn = svg[max(svg.find("<svg"), 0) :].replace(GREY, _INK)
    encoded = base64.b64encode(drawn.encode(errors="replace")).decode()
    return (
        f'<figure><img alt="{text(alt or caption)}" src="data:image/svg+xml;base64,{encoded}">'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def side_by_side(pictures: Sequence[str], kind: str = "") -> str:
    return f'<div class="figures {kind}">{"".join(pictures)}</div>'


def folded(title: str, body: str) -> str:
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def paragraph(words: object, kind: str = "") -> str:
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"
