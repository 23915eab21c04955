"""What a search looked like: its history, what mattered, which settings went where."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from optuna.trial import FrozenTrial, TrialState

from heads.figures.charts import COLOURS, GREY, svg
from heads.measuring.metrics import plain_name

_SHOWN, _ACROSS = 8, 4
"""Settings in all, and side by side."""


def history(trials: Sequence[FrozenTrial], metric: str, *, larger: bool) -> str:
    """Every finished trial, and the best so far."""
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    values = np.array([t.values[0] for t in done])
    best = np.maximum.accumulate(values) if larger else np.minimum.accumulate(values)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        numbers = [t.number for t in done]
        axes.scatter(numbers, values, s=12, color=COLOURS[5], alpha=0.7, label="trial")
        axes.step(numbers, best, where="post", color=COLOURS[0], lw=1.8, label="best so far")
        axes.set(xlabel="trial", ylabel=plain_name(f"validation {metric}"))
        axes.grid(axis="y")
        axes.legend(loc="lower right" if larger else "upper right")

    return svg(draw, 6.0, 3.2)


def importances(study: optuna.Study) -> tuple[dict[str, float], str]:
    """How much each setting mattered for the first metric; empty with too few trials."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < 2 * _SHOWN:
        return {}, ""
    several = len(study.directions) > 1
    try:
        found = optuna.importance.get_param_importances(
            study, target=(lambda trial: trial.values[0]) if several else None
        )
    except (ValueError, RuntimeError):
        found = {}
    if not found:
        return {}, ""
    shown = dict(list(found.items())[:_SHOWN])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(list(shown), list(shown.values()), color=COLOURS[0])
        axes.invert_yaxis()
        axes.set_xlabel("importance")

    return found, svg(draw, 6.0, 0.9 + 0.32 * len(shown))


def settings(trials: Sequence[FrozenTrial], metric: str, *, larger: bool) -> str:
    """A panel for each setting: its value against what was reached; the best tenth in colour."""
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    names = sorted({name for trial in done for name in trial.params})[:_SHOWN]
    if not names:
        return ""
    values = np.array([t.values[0] for t in done])
    order = np.argsort(values if larger else -values)
    top = set(order[-max(1, len(done) // 10) :].tolist())

    def draw(figure: Figure) -> None:
        columns = min(_ACROSS, len(names))
        grid = figure.subplots(-(-len(names) // columns), columns, sharey=True, squeeze=False)
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        for axes, name in zip(grid.flat, names, strict=False):
            _panel(axes, name, done, top)
        for row in grid:
            row[0].set_ylabel(plain_name(f"validation {metric}"))

    rows = -(-len(names) // _ACROSS)
    return svg(draw, 0.8 + 2.3 * min(_ACROSS, len(names)), 2.3 * rows + 0.2)


def _panel(axes: Any, name: str, trials: Sequence[FrozenTrial], top: set[int]) -> None:  # noqa: ANN401
    """Numbers on a scale like the one they were drawn from, choices side by side."""
    mine = [(place, trial) for place, trial in enumerate(trials) if name in trial.params]
    spread = mine[0][1].distributions[name]
    kind = optuna.distributions.CategoricalDistribution
    choices = [str(choice) for choice in spread.choices] if isinstance(spread, kind) else []
    for chosen, colour, alpha in ((False, GREY, 0.45), (True, COLOURS[3], 1.0)):
        points = [
            (choices.index(str(t.params[name])) if choices else float(t.params[name]), t.values[0])
            for place, t in mine
            if (place in top) == chosen
        ]
        if points:
            axes.plot(*zip(*points, strict=True), "o", ms=4.5, color=colour, alpha=alpha, mew=0)
    if choices:
        axes.set_xticks(range(len(choices)), choices, rotation=20, ha="right")
        axes.set_xlim(-0.5, len(choices) - 0.5)
    elif getattr(spread, "log", False):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(name)
    axes.grid(axis="y")


def front(study: optuna.Study, metrics: Sequence[str]) -> str:
    """The first two objectives; the Pareto front in colour."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = {trial.number for trial in study.best_trials}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for chosen, colour in ((False, COLOURS[5]), (True, COLOURS[3])):
            shown = [trial for trial in done if (trial.number in best) == chosen]
            points = [(trial.values[0], trial.values[1]) for trial in shown]
            if points:
                axes.plot(*zip(*points, strict=True), "o", ms=4, color=colour)
        across, up = (plain_name(f"validation {metric}") for metric in metrics[:2])
        axes.set(xlabel=across, ylabel=up)

    return svg(draw)
