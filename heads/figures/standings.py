"""Detectors under one another: a number each with its 95% interval."""

from collections.abc import Collection, Mapping

from matplotlib.figure import Figure

from heads.figures.charts import COLOURS, GREY, svg
from heads.measuring.intervals import Interval


def standings(rows: Mapping[str, Interval], hollow: Collection[str], label: str) -> str:
    """In the given order; `hollow` ones are no result (random weights)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (name, one) in enumerate(rows.items()):
            colour = GREY if name in hollow else COLOURS[0]
            low, high = (one.value, one.value) if one.why else (one.low, one.high)
            bars = [[100 * (one.value - low)], [100 * (high - one.value)]]
            face = "none" if name in hollow else colour
            axes.errorbar(
                100 * one.value, place, xerr=bars, fmt="o", color=colour, mfc=face, capsize=3
            )
        names = [f"{name} (random weights)" if name in hollow else name for name in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.set_xlabel(label)

    return svg(draw, 6.5, 1.2 + 0.32 * len(rows))
