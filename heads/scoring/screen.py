"""One video's row on one screen."""

from collections.abc import Mapping, Sequence
from typing import Any

from extract.errors import one_line
from heads.measuring.conformal import NO_CALIBRATION
from heads.measuring.metrics import REAL
from heads.parts.model_card import FORGERY, first_lines
from heads.scoring.formats import FORGERY_UNDER, Counts
from heads.scoring.meaning import Meaning
from heads.scoring.rows import FAR, UNSURE

_WIDE = 40
TOO_LITTLE = "too few frames that show anything, or no face or person where one is needed"
STRANGE = "like nothing that was learnt: farther away than all but 1% of it; take this for a guess"
NO_VERDICT = "no verdict, these networks have random weights"


def verdict(row: Mapping[str, object], meaning: Meaning) -> str:
    """In one line: what the number is, and what it means."""
    name = one_line(str(row["id"]))
    if row["error"]:
        return f"{name}: cannot be scored: {row['error']}"
    if row["confidence"] is None:
        return f"{name}: {row['verdict']} to look at: {TOO_LITTLE}"
    if meaning.no_verdict:
        return f"{name}: {NO_VERDICT}"
    shaken = str(row.get("stress") or "").startswith(UNSURE)
    unsure = f"{UNSURE}, " if row["set"] == UNSURE or shaken or _is_strange(row) else ""
    return f"{name}: {unsure}{_said(row)}, says {meaning.name}{_flagged(row, meaning)}"


def screen(row: Mapping[str, object], meaning: Meaning) -> Sequence[str]:
    """All that is known of it."""
    lines = [verdict(row, meaning)]
    if row["error"] or row["confidence"] is None:
        return lines
    lines.append("")
    for name in meaning.about.classes:
        share = row[f"p_{name}"]
        assert isinstance(share, float)
        lines.append(f"  {name:12} {share:6.1%}  {'█' * round(share * _WIDE)}")
    lines += ["", f"  answer at the chosen error rate: {row['set'] or NO_CALIBRATION}"]
    if meaning.point is not None and row["flagged"] is not None:
        lines.append(f"  {'flagged' if row['flagged'] else 'not flagged'} ({meaning.point})")
    if row.get("worst_part"):
        lines.append(
            f"  looks worst: {row['worst_part']} of person {row['worst_person']} in frame "
            f"{row['worst_frame']}, {row['worst_score']:.3f}, box {row['worst_box']}"
        )
    if row.get("stress"):
        lines.append(f"  damaged as on its way: {row['stress']}")
        lines += [
            f"    {name.removeprefix(FORGERY_UNDER):12} {share:6.1%}"
            for name, share in row.items()
            if name.startswith(FORGERY_UNDER) and isinstance(share, float)
        ]
    if row.get("group"):
        lines.append(f"  looks like a copy: group {one_line(str(row['group']))}")
    if _is_strange(row):
        lines.append(f"  {STRANGE}")
    if row["nearest_id"]:
        lines.append(
            f"  most like {row['nearest_id']} ({row['nearest_source']}, "
            f"similarity {row['nearest_similarity']:.2f})"
        )
    return [*lines, *(f"  {line}" for line in papers(meaning))]


def papers(meaning: Meaning) -> list[str]:
    """What a verdict is worth, what it rests on, and what made it."""
    note = [meaning.note] if meaning.note else []
    return [*first_lines(meaning.about), *note, meaning.by]


def _is_strange(row: Mapping[str, object]) -> bool:
    far = row.get("unlike")
    return isinstance(far, float) and far >= FAR


def _said(row: Mapping[str, object]) -> str:
    """How probably it is generated, and what is the matter with it."""
    likeliest, share = row["verdict"], row["forgery"]
    if not isinstance(share, float):
        return f"{likeliest} ({row['confidence']:.0%})"
    if likeliest == FORGERY:
        return f"{share:.0%} generated"
    alone = " is the likeliest class" if likeliest == REAL and share > 0.5 else ""
    return f"{share:.0%} generated ({likeliest}{alone})"


def _flagged(row: Mapping[str, object], meaning: Meaning) -> str:
    """By the threshold that has a promise, and what it promises; nothing where there is none."""
    point = meaning.point
    if point is None or row["flagged"] is None:
        return ""
    return (
        f"; {'flagged' if row['flagged'] else 'not flagged'}: on {point.reals:,} reals like "
        f"{point.source} this threshold flags {100 * point.false_alarms:g}% "
        f"[{100 * point.low:.1f}, {100 * point.high:.1f}]"
    )


def file_lines(about: Mapping[str, Any], meaning: Meaning) -> list[str]:
    """What a file of scores says of itself: how many rows, and all that `papers` says."""
    counted = Counts.from_json(about) if "verdicts" in about else "rows that a watch appends"
    inputs = [f"hash of the list of inputs: {about['inputs']}"] if "inputs" in about else []
    point = [str(meaning.point)] if meaning.point else []
    place = [f"inputs: {about['place']}"] if "place" in about else []
    return [f"{meaning.name}: {counted}", *point, *papers(meaning), *place, *inputs]
