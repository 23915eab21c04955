"""What a search looked like: its history, what mattered, which settings went where."""

from collections.abc import Sequence

import numpy as np
import optuna
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from heads.figures.charts import COLOURS, GREY, svg

_SHOWN = 8


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
        axes.set(xlabel="trial", ylabel=f"validation {metric}")
        axes.grid(axis="y")
        axes.legend(loc="lower right" if larger else "upper right")

    return svg(draw, 6.0, 3.2)


def importances(study: optuna.Study) -> tuple[dict[str, float], str]:
    """How much each setting mattered for the first metric; empty with too few trials."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    several = len(study.directions) > 1
    try:
        found = optuna.importance.get_param_importances(
            study, target=(lambda trial: trial.values[0]) if several else None
        )
    except (ValueError, RuntimeError):
        found = {}
    if len(done) < 2 * _SHOWN or not found:
        return {}, ""
    shown = dict(list(found.items())[:_SHOWN])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(list(shown), list(shown.values()), color=COLOURS[0])
        axes.invert_yaxis()
        axes.set_xlabel("importance")

    return found, svg(draw, 6.0, 0.9 + 0.32 * len(shown))


def parallel(trials: Sequence[FrozenTrial], metric: str, *, larger: bool) -> str:
    """A line per trial through its settings; the best tenth in colour."""
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    names = sorted({name for trial in done for name in trial.params})[:_SHOWN]
    values = np.array([t.values[0] for t in done])
    order = np.argsort(values if larger else -values)
    top = set(order[-max(1, len(done) // 10) :].tolist())

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place in order.tolist():
            heights = [_height(done, name, done[place]) for name in names]
            chosen = place in top
            axes.plot(
                heights, color=COLOURS[3] if chosen else GREY, alpha=0.9 if chosen else 0.15,
                lw=1.4 if chosen else 0.8,
            )  # fmt: skip
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.set_yticks([0, 1], ["low", "high"])
        axes.set_title(f"settings of the best tenth by {metric}", fontsize=10)

    return svg(draw, 7.0, 3.4)


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
        axes.set(xlabel=f"validation {metrics[0]}", ylabel=f"validation {metrics[1]}")

    return svg(draw)


def _height(trials: Sequence[FrozenTrial], name: str, trial: FrozenTrial) -> float:
    """Where a trial's setting lies between the lowest and the highest."""
    if name not in trial.params:
        return float("nan")
    distribution = trial.distributions[name]
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        choices = list(distribution.choices)
        return choices.index(trial.params[name]) / max(len(choices) - 1, 1)
    numbers = np.array([t.params[name] for t in trials if name in t.params], float)
    value = float(trial.params[name])
    if getattr(distribution, "log", False):
        numbers, value = np.log(numbers), float(np.log(value))
    spread = np.ptp(numbers)
    return float((value - numbers.min()) / spread) if spread else 0.5
