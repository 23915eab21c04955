"""What a bundle says of itself to people: its card, and lines that commands print."""

from collections.abc import Collection

from heads.measuring.intervals import read_interval
from heads.measuring.metrics import REAL
from heads.parts.about import About

FORGERY = "forgery"
"""The other class of scheme hfv2."""

_DRAWN = {"internvideo2", "depthpro"}
"""Branches of which `tiny` was trained, on made-up people."""
UNTRAINED = "small, for trying things out; its weights are random unless somebody trained them"
MADE_UP = "made-up people; these networks know nothing of real ones"


def calibration_line(about: About) -> str:
    """What its thresholds rest on, in a sentence."""
    if not about.conformal:
        return "No calibration: it gives no sets of classes with a promised error rate."
    if not about.calibration:
        return (
            "Calibrated by the videos that chose the epoch, as first versions did: what it "
            "promises holds for such videos alone."
        )
    found = about.calibration
    counts = ", ".join(f"{count} {name}" for name, count in found["by class"].items())
    return f"Calibrated by {found['videos']} videos ({found['from']}; {counts})."


def worth_line(about: About) -> str:
    """What a verdict is worth, in a sentence with its numbers; empty where nobody measured it."""
    found = about.calibration.get("worth")
    if not found:
        return ""
    auc, alarms, caught = (read_interval(found[name]) for name in ("auc", "false alarms", "caught"))
    return (
        f"AUC {auc}; {alarms} percent of real videos called generated, {caught} percent of "
        f"generated ones found; {about.calibration['from']}. Other videos may be harder. Not "
        f"evidence in court."
    )


def first_lines(about: About) -> list[str]:
    """What has to be said before verdicts: what they are worth, what they rest on, what they are
    not about."""
    lines = [words] if (words := worth_line(about)) else []
    lines.append(calibration_line(about))
    if set(about.classes) == {FORGERY, REAL}:
        lines.append(
            "It tells generated from real; what is wrong with a video (spatial, appearance, "
            "motion) takes HumanSAM's weights, see README."
        )
    return lines


def warning(requests: Collection[str]) -> str:
    """What has to be said beside figures and verdicts from these branches, or nothing.

    Requests are NAME=PRESET?options, as a bundle has them.
    """
    if no_verdict(requests):
        return "the networks have random weights: figures show that it runs, nothing else"
    tiny = {request.partition("=")[0] for request in _tiny(requests)}
    if tiny & _DRAWN:
        return MADE_UP
    return f"{', '.join(sorted(tiny))}=tiny: {UNTRAINED}" if tiny else ""


def no_verdict(requests: Collection[str]) -> bool:
    """Whether the networks have random weights, so that what they say is nothing."""
    return any("random=true" in request for request in _tiny(requests))


def _tiny(requests: Collection[str]) -> list[str]:
    return [request for request in requests if request.partition("?")[0].endswith("=tiny")]


def model_card(about: About) -> str:
    """README.md of a bundle."""
    lines = [
        f"# {about.head} head, {about.scheme}",
        "",
        f"Tells {', '.join(about.classes)} from features of {', '.join(about.branches.values())}. "
        f"Trained by Telltale on {about.provenance.get('videos', '?')} videos' features "
        f"({about.provenance.get('date', '?')}), protocol `{about.protocol}`.",
        "",
    ]
    if words := warning(about.branches.values()):
        lines += [f"**{words.capitalize()}.**", ""]
    if about.metrics:
        lines += ["| figure | value |", "| --- | --- |"]
        lines += [f"| {name} | {_shown(value)} |" for name, value in about.metrics.items()]
        lines += [""]
    if words := worth_line(about):
        lines += [words, ""]
    for name, sources in about.provenance.get("learnt from", {}).items():
        counts = ", ".join(f"{source} {count}" for source, count in sources.items())
        lines += [f"Learnt from as {name} ({sum(sources.values())}): {counts}.", ""]
    lines += [
        calibration_line(about),
        "",
        f"Temperature {about.temperature:.3f}. Settings: "
        + ", ".join(f"`{name}={value}`" for name, value in about.config.items()),
        "",
        "    telltale score VIDEOS --bundle THIS_FOLDER --out scores.csv",
        "",
    ]
    return "\n".join(lines)


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
