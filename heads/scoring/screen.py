"""One video's row on one screen."""

from collections.abc import Mapping, Sequence

from extract.errors import one_line
from heads.bundle import Bundle
from heads.judging.papers import OperatingPoint
from heads.measuring.conformal import NO_CALIBRATION
from heads.parts.model_card import warning
from heads.scoring.rows import UNSURE

_WIDE = 40
TOO_LITTLE = "too few frames that show anything, or no face or person where one is needed"


def verdict(row: Mapping[str, object]) -> str:
    """In one line."""
    name = one_line(str(row["id"]))
    if row["error"]:
        return f"{name}: cannot be scored: {row['error']}"
    if row["confidence"] is None:
        return f"{name}: {row['verdict']} to look at: {TOO_LITTLE}"
    if row["set"] == UNSURE:
        return f"{name}: {UNSURE}, {row['verdict']} rather ({row['confidence']:.0%})"
    return f"{name}: {row['verdict']}, confidence {row['confidence']:.0%}"


def screen(row: Mapping[str, object], bundle: Bundle) -> Sequence[str]:
    """All that is known of it."""
    if row["error"] or row["confidence"] is None:
        return [verdict(row)]
    lines = [verdict(row), ""]
    for name in bundle.classes:
        share = row[f"p_{name}"]
        assert isinstance(share, float)
        lines.append(f"  {name:12} {share:6.1%}  {'█' * round(share * _WIDE)}")
    lines += ["", f"  answer at the chosen error rate: {row['set'] or NO_CALIBRATION}"]
    if row["flagged"] is not None:
        point = OperatingPoint.read(bundle.about.operating[-1])
        lines.append(f"  {'flagged' if row['flagged'] else 'not flagged'} ({point})")
    if row["forgery"] is not None:
        lines.append(f"  generated with probability {row['forgery']:.1%}")
    if row["nearest_id"]:
        lines.append(
            f"  most like {row['nearest_id']} ({row['nearest_source']}, "
            f"similarity {row['nearest_similarity']:.2f})"
        )
    if words := warning(bundle.about.branches.values()):
        lines.append(f"  {words}")
    return lines


def caption(row: Mapping[str, object], bundle: Bundle) -> str:
    """What stands above a picture that explains the verdict."""
    found = [verdict(row), f"bundle {bundle.content[:8]} ({bundle.about.head})"]
    if words := warning(bundle.about.branches.values()):
        found.append(words.upper())
    return "\n".join(found)
