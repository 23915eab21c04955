"""What stands above a picture that explains a verdict."""

from collections.abc import Mapping
from datetime import UTC, datetime

from heads.figures.why import Caption, Stretch
from heads.parts.model_card import worth_line
from heads.scoring.meaning import Meaning
from heads.scoring.screen import verdict
from heads.scoring.timelines import Timeline

STAMP = "RANDOM WEIGHTS: NO VERDICT"


def caption(
    row: Mapping[str, object], meaning: Meaning, timeline: Timeline | None = None
) -> Caption:
    """Of a row; `timeline`: of the whole video, where the row is a segment of it."""
    spread = row.get("spread")
    lines = [verdict(row, meaning).removeprefix(f"{row['id']}: ")]
    if timeline is not None:
        whole = timeline.lines()[0].removeprefix(f"{timeline.id}: ")
        lines.append(f"whole video: {whole}")
    if isinstance(spread, float) and spread > 0:
        lines.append(f"views differ by {spread:.1%}")
    if words := worth_line(meaning.about):
        lines.append(words)
    lines.append(f"{meaning.by}; explained {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    return Caption(
        title=str(row["id"]), lines=lines, chosen=str(row["verdict"]),
        warning=meaning.note.upper(), stamp=STAMP if meaning.no_verdict else "",
        line=[] if timeline is None else stretches(timeline),
    )  # fmt: skip


def stretches(timeline: Timeline) -> list[Stretch]:
    """As a picture draws them."""
    return [
        Stretch(
            start=span.segment.start, end=span.segment.end, seen=span.forgery is not None,
            generated=0.35 + 0.65 * (span.forgery or 0.0) if span.generated else 0.0,
        )
        for span in timeline.spans
    ]  # fmt: skip
