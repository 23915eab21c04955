"""What a search found, and why the best trial promised more than other videos give: a lucky seed,
the best of many, other videos. Three numbers that are not one."""

from collections.abc import Mapping
from statistics import mean

TEST = "test, refitted, by seed"


def summary(report: Mapping[str, object], metric: str, *, larger: bool) -> list[str]:
    """Of what a search leaves in tune.json, for a terminal."""
    settings, best, seeds = (
        report[n] for n in ("settings", "validation of the best trial", "seeds")
    )
    assert isinstance(settings, Mapping)
    assert isinstance(best, float)
    assert isinstance(seeds, list)
    lines = [f"best: {report['head']} " + " ".join(f"{k}={v}" for k, v in settings.items())]
    n = report["videos judged"]
    lines.append(f"{metric} of the best of {report['trials']} trials: {best:.4f} "
                 f"(seed {seeds[0]}, n = {n} videos that did not decide when to stop)")  # fmt: skip
    sign = 1 if larger else -1
    found: dict[str, float] = {}
    names = {"validation, refitted, by seed": f"the same {n} videos",
             "nested, by fold": "videos that chose nothing, in nested folds",
             TEST: f"the {report.get('test videos')} test videos"}  # fmt: skip
    for name, what in names.items():
        values = report.get(name)
        if isinstance(values, list):
            found[name] = sign * mean(values)
            lines.append(f"{name.partition(',')[0]}: {mean(values):.4f} "
                         f"({', '.join(f'{v:.4f}' for v in values)}), on {what}")  # fmt: skip
    best *= sign
    refitted = found["validation, refitted, by seed"]
    if len(seeds) > 1:
        lines.append(f"luck of the seed (best trial - refitted): {best - refitted:+.4f}")
    if "nested, by fold" in found:
        lines.append(
            f"cost of choosing (best trial - nested): {best - found['nested, by fold']:+.4f}"
        )
    if TEST in found:
        lines.append(f"other videos (refitted - test): {refitted - found[TEST]:+.4f}; "
                     "how much of it is choosing, --nested 3 says")  # fmt: skip
    return lines
