"""What a bundle says of itself to people: its card, and lines that commands print."""

from heads.parts.about import About


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


def is_tiny(about: About) -> bool:
    """Its branches have random weights."""
    return any(request.partition("?")[0].endswith("=tiny") for request in about.branches.values())


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
    if is_tiny(about):
        lines += ["**The branches have random weights: this head is for trying things out.**", ""]
    if about.metrics:
        lines += ["| figure | value |", "| --- | --- |"]
        lines += [f"| {name} | {_shown(value)} |" for name, value in about.metrics.items()]
        lines += [""]
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
