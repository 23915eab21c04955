"""Figures as SVG, legible and colour-blind safe, on a transparent ground for light and dark pages.

Lines and text are in one grey that reads on both; colours are Okabe and Ito's.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from heads.judging.ablation import Ablation
from heads.judging.cross import CrossTable
from heads.measuring import curves
from heads.measuring.calibration import Reliability
from heads.measuring.intervals import Interval
from heads.measuring.metrics import Floats, Labels, area, plain_name, row_shares

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
GREY = "#808890"
_HEAT = LinearSegmentedColormap.from_list("heat", ["#e3eef6", COLOURS[0]])
_DARK = 0.75
"""Shares above it have white text."""
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "telltale", "text.parse_math": False,
    "font.family": "sans-serif", "font.size": 10, "text.color": GREY,
    "axes.edgecolor": GREY, "axes.labelcolor": GREY, "xtick.color": GREY, "ytick.color": GREY,
    "axes.facecolor": "none", "figure.facecolor": "none", "savefig.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "grid.color": GREY, "grid.alpha": 0.25,
}  # fmt: skip


def svg(draw: "Drawing", width: float = 4.8, height: float = 3.6) -> str:
    """The figure as SVG text that can be put into a page."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": "Telltale"})
    text = file.getvalue()
    return text[text.index("<svg") :]


Drawing = Any
"""A function that draws into a Figure."""


def confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Counts and shares of the true class, which also colour."""
    shares = row_shares(matrix)
    texts = [
        [f"{n:,}\n{s:.0%}" for n, s in zip(*row, strict=True)]
        for row in zip(matrix, shares, strict=True)
    ]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _heat(axes, shares, texts)
        axes.set(
            xlabel="likeliest",
            ylabel="labelled",
            xticks=range(len(classes)),
            yticks=range(len(classes)),
        )
        axes.set_xticklabels(classes, rotation=30, ha="right")
        axes.set_yticklabels(classes)

    return svg(draw, 1.6 + 0.75 * len(classes), 1.2 + 0.65 * len(classes))


def cross(found: CrossTable) -> str:
    """Accuracy above AUC, so that phones can show it: each cell with how many videos it is of, and
    below it means and what is reached without looking."""
    tables = {
        "accuracy, %": (found.values("accuracy"), found.values("commonest")),
        "AUC, %": (found.values("auc"), np.full((len(found.rows), len(found.columns)), 0.5)),
    }
    sizes = [[f"{cell.reals}+{cell.fakes}" for cell in row] for row in found.cells]
    rows = [*found.rows, "mean", "without looking"]

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(tables), 1)
        for axes, (title, (values, blind)) in zip(grid, tables.items(), strict=True):
            blind = np.where(np.isnan(values), np.nan, blind)
            whole = np.concatenate([values, _column_means(values), _column_means(blind)])
            texts = [
                [_percent(value, size) for value, size in zip(*line, strict=True)]
                for line in zip(values, sizes, strict=True)
            ]
            texts += [[_percent(value) for value in line] for line in whole[len(values) :]]
            _heat(axes, whole, texts)
            axes.axhline(len(values) - 0.5, color=GREY, lw=1.2)
            axes.set(xlabel="tested on", ylabel="learnt from", title=title)
            axes.set_xticks(range(len(found.columns)), found.columns, rotation=30, ha="right")
            axes.set_yticks(range(len(rows)), rows)

    return svg(draw, 2.4 + 0.8 * max(len(found.columns), 2), 2 * (1.4 + 0.45 * len(rows)))


def _column_means(values: Floats) -> Floats:
    """One row; a column of which nothing is known has none."""
    known = ~np.isnan(values)
    sums = np.where(known, values, 0.0).sum(0, keepdims=True)
    return np.where(known.any(0), sums / np.maximum(known.sum(0), 1), np.nan)


def _percent(value: float, size: str = "") -> str:
    if math.isnan(value):
        return ""
    return f"{100 * value:.0f}\n{size}" if size else f"{100 * value:.0f}"


def roc(probabilities: Floats, labels: Labels, classes: Sequence[str]) -> str:
    """One curve per class against the rest, where it is defined."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, name in enumerate(classes):
            hits = labels == index
            if not 0 < hits.sum() < len(hits):
                continue
            curve = curves.roc(probabilities[:, index], hits)
            found = area(probabilities[:, index], hits)
            label = f"{name} (AUC {100 * found:.1f}, n = {hits.sum():,})"
            axes.plot(curve.x, curve.y, color=COLOURS[index % len(COLOURS)], label=label, lw=1.8)
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
        axes.set(xlabel="false alarms (FPR)", ylabel="found (TPR)", aspect="equal")
        axes.legend(loc="lower right", fontsize=8)

    return svg(draw, 4.2, 4.0)


def precision_recall(probabilities: Floats, labels: Labels, classes: Sequence[str]) -> str:
    """One curve per class against the rest, where the class occurs."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, name in enumerate(classes):
            hits = labels == index
            if not hits.any():
                continue
            curve = curves.precision_recall(probabilities[:, index], hits)
            label = f"{name} (n = {hits.sum():,} of {len(hits):,})"
            axes.step(
                curve.x, curve.y, where="pre", color=COLOURS[index % len(COLOURS)], label=label,
                lw=1.8,
            )  # fmt: skip
        axes.set(xlabel="found (recall)", ylabel="right (precision)", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="lower left", fontsize=8)

    return svg(draw, 4.2, 4.0)


def curves_of(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str,
    *, diagonal: bool, marks: Mapping[str, tuple[float, float]] | None = None,
) -> str:  # fmt: skip
    """Curves that are points already, in the unit square; `marks` are single points, by name."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, (name, (x, y)) in enumerate(series.items()):
            axes.plot(x, y, color=COLOURS[index % len(COLOURS)], label=name, lw=1.8)
        if diagonal:
            axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
        for index, (name, (across, up)) in enumerate((marks or {}).items(), len(series)):
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(
                [across], [up], color=colour, label=name, marker="o", ms=7, ls="", clip_on=False
            )
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
        axes.legend(fontsize=8)

    return svg(draw, 4.2, 4.0)


def reliability_curve(found: Reliability) -> str:
    """Confidence against how often it is right; dots as large as their videos are many."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
        sizes = 20 + 200 * found.counts / found.counts.max()
        axes.plot(found.confidence, found.accuracy, color=COLOURS[0], lw=1.2)
        axes.scatter(found.confidence, found.accuracy, s=sizes, color=COLOURS[0], alpha=0.7)
        axes.set(xlabel="confidence", ylabel="right", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_title(f"calibration error {100 * found.error:.1f}%", fontsize=10)

    return svg(draw, 4.0, 4.0)


def ablation(result: Ablation, metric: str = "auc") -> str:
    """Means with 95% intervals, and every seed as a dot."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (_, cells) in enumerate(result.rows.items()):
            cell = cells[metric]
            ends = [cell.mean - cell.spread.low, cell.spread.high - cell.mean]
            room = 100 * np.nan_to_num(np.array([ends]).T)
            axes.errorbar(100 * cell.mean, place, xerr=room, fmt="o", color=COLOURS[0], capsize=4)
            values = 100 * np.array(cell.values)
            axes.scatter(values, np.full(len(values), place + 0.2), s=10, color=COLOURS[1])
        axes.set_yticks(range(len(result.rows)), list(result.rows))
        axes.invert_yaxis()
        axes.grid(axis="x")
        first = next(iter(result.rows.values()))[metric]
        axes.axvline(100 * first.mean, color=GREY, lw=0.8, ls=":")
        said = plain_name(metric)
        axes.set_xlabel(f"{said}, percent (bars: 95% over videos and seeds; small dots: seeds)")

    return svg(draw, 6.0, 1.2 + 0.5 * len(result.rows))


def lines(series: Mapping[str, Sequence[float]], xlabel: str, ylabel: str) -> str:
    """Curves over steps, such as a metric by epoch."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, (name, values) in enumerate(series.items()):
            axes.plot(values, color=COLOURS[index % len(COLOURS)], label=name, lw=1.5)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(axis="y")
        if len(series) > 1:
            axes.legend()

    return svg(draw, 5.0, 3.0)


def strengths(curves: Mapping[str, Sequence[tuple[float, Interval]]], undamaged: Interval) -> str:
    """AUC over the strength of each kind of damage, with 95% intervals; dotted: undamaged."""

    def draw(figure: Figure) -> None:
        grid = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
        for place, (kind, points) in enumerate(curves.items()):
            axes, colour = grid[place], COLOURS[place % len(COLOURS)]
            amounts = [amount for amount, _ in points]
            values = 100 * np.array([each.value for _, each in points])
            bounds = 100 * np.array([(each.low, each.high) for _, each in points])
            axes.plot(amounts, values, color=colour, marker="o", ms=4, lw=1.5)
            axes.fill_between(amounts, *bounds.T, color=colour, alpha=0.2, lw=0)
            axes.axhline(100 * undamaged.value, color=GREY, lw=0.8, ls=":")
            axes.set(xlabel=kind)
            axes.grid(axis="y")
        grid[0].set_ylabel("AUC, percent")

    return svg(draw, 1.2 + 2.2 * len(curves), 3.0)


def _heat(axes: Any, shares: Floats, texts: Sequence[Sequence[str]]) -> None:  # noqa: ANN401
    """Each cell is a shape, so that it stays sharp; a missing one is not drawn."""
    places = np.arange(shares.shape[1]), np.arange(shares.shape[0])
    axes.pcolormesh(*places, shares, cmap=_HEAT, vmin=0, vmax=1, shading="nearest")
    axes.invert_yaxis()
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            dark = shares[row, column] > _DARK
            axes.text(
                column, row, text, ha="center", va="center", color="white" if dark else "#203040",
                linespacing=1.1, fontsize=9,
            )  # fmt: skip
