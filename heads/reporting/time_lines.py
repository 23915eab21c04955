"""Long videos as the report shows them: a bar of segments each, and what was said when."""

import math
from collections.abc import Iterator, Mapping

from heads.reporting.parts import folded, number, paragraph, percent, table
from heads.reporting.safe import text
from heads.reporting.scores import TRUE, Scores
from heads.scoring.timelines import FAILED, Span, Timeline, clock, timelines

SHOWN = 40
"""Videos; the worst first."""
_WIDTH, _HEIGHT = 1000, 28


def time_lines(scores: Scores) -> str:
    """Nothing where no row is a segment."""
    found = list(timelines(_rows(scores)))
    if not found:
        return ""
    found.sort(key=_badness, reverse=True)
    note = (
        "A bar is a video from its beginning to its end; what counts as generated is in colour, "
        "the stronger the surer, what could not be looked at is empty. The worst stand first."
    )
    left = len(found) - SHOWN
    more = f" The other {number(left)} are in the file of videos." if left > 0 else ""
    bars = "".join(_video(one) for one in found[:SHOWN])
    return f"{paragraph(note + more, 'note')}{bars}"


def _rows(scores: Scores) -> Iterator[Mapping[str, object]]:
    texts, flags = scores.texts, scores.texts.get("flagged", [""] * len(scores))
    errors = texts.get("error", [""] * len(scores))
    paths = texts.get("path", texts["id"])
    for row in range(len(scores)):
        yield {
            "id": texts["id"][row], "path": paths[row], "verdict": texts["verdict"][row],
            "error": errors[row], "forgery": _known(scores.forgery[row]),
            "confidence": _known(scores.confidence[row]),
            "flagged": flags[row] in TRUE if flags[row] else None,
        }  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _badness(one: Timeline) -> tuple[bool, float]:
    worst = one.worst
    return one.first is not None, 0.0 if worst is None else worst.forgery or 0.0


def _video(one: Timeline) -> str:
    said = one.lines()[0].removeprefix(f"{one.id}: ")
    return (
        f'<article class="timeline"><h3><bdi>{text(one.id)}</bdi></h3>{paragraph(said)}'
        f"{bar(one)}</article>"
    )


def bar(one: Timeline) -> str:
    """From the beginning of a video to its end, and what was said when."""
    said = one.lines()[0].removeprefix(f"{one.id}: ")
    start, end = one.spans[0].segment.start, one.spans[-1].segment.end
    scale = _WIDTH / (end - start)
    parts = "".join(_rect(span, start, scale) for span in one.spans)
    rows = [[clock(c.start), clock(c.end), verdict] for c, verdict in one.chapters]
    chapters = table(["from", "to", "verdict"], rows)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'shape-rendering="crispEdges" '
        f'aria-label="{text(f"time line of {one.id}: {said}")}">{parts}</svg>'
        f'<p class="ends"><span>{clock(start)}</span><span>{clock(end)}</span></p>'
        f"{folded('What was said when', chapters)}"
    )


def _rect(span: Span, start: float, scale: float) -> str:
    left, width = (span.segment.start - start) * scale, span.seconds * scale
    kind, strength = "real", 1.0
    if span.forgery is None:
        kind = "nothing"
    elif span.generated:
        kind, strength = "generated", 0.35 + 0.65 * span.forgery
    when = f"{clock(span.segment.start)} to {clock(span.segment.end)}: {span.verdict}"
    sure = "" if span.forgery is None else f", {percent(span.forgery, 0)}% generated"
    failed = ", nothing to see" if span.forgery is None and span.verdict != FAILED else ""
    return (
        f'<rect class="{kind}" x="{left:.2f}" y="0" width="{width:.2f}" height="{_HEIGHT}" '
        f'fill-opacity="{strength:.2f}"><title>{text(when + sure + failed)}</title></rect>'
    )
