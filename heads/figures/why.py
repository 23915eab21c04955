"""The picture that goes with a verdict: what it is of, where the network looked, what said what.

It is read by people who were not there when it was made, so everything that they have to know
stands in it.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from heads.figures.charts import COLOURS

_INK, _SOFT, _WARN = "#1c2127", "#5c6570", "#b84a00"
_LONGEST_TITLE = 90
_WIDE, _WIDE_FIRST = 160, 125
"""Letters of a line."""
_LINE = 0.24
"""Inches."""
_TYPES = {
    "first": (11, "normal", _INK),
    "more": (9, "normal", _SOFT),
    "warning": (9, "bold", _WARN),
}
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of a long video on its time line."""

    start: float
    end: float
    generated: float = 0.0
    """How strongly it is coloured, 0 to 1."""
    seen: bool = True
    """False: it could not be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What is said above a picture."""

    title: str
    """The file."""
    lines: Sequence[str]
    """The verdict first, then what it is worth and what made it."""
    chosen: str = ""
    """The verdict's class."""
    warning: str = ""
    """What everybody has to know."""
    stamp: str = ""
    """Across the picture, where it must not be taken for a finding."""
    line: Sequence[Stretch] = field(default=())
    """The time line of the whole video, where the picture is of a segment."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Why:
    """What is to be shown."""

    clip_thwc: NDArray[np.generic]
    times: Sequence[str]
    """Of each frame, as a player shows it."""
    heat_tyx: Floats
    """The attention pool's weight on every patch; over all frames 1 without the class token's."""
    shares: Mapping[str, Floats]
    """Name → what it adds to each class's logit."""
    classes: Sequence[str]


def drawn(why: Why, caption: Caption) -> Figure:
    """One figure, as wide as the frames need."""
    with mpl.rc_context({"text.parse_math": False, "font.size": 9}):
        return _figure(why, caption)


def middle(text: str, longest: int = _LONGEST_TITLE) -> str:
    """Shortened in its middle: how a name begins and ends tells files apart."""
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def _figure(why: Why, caption: Caption) -> Figure:
    frames = len(why.clip_thwc)
    width = max(1.6 * frames, 9.0)
    heights = [head_height(caption), 1.75, 1.85, *([0.55] if caption.line else []), 2.7]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(len(heights), frames + 1, height_ratios=heights,
                               width_ratios=[1.0] * frames + [0.08])  # fmt: skip
    head(figure.add_subplot(grid[0, :]), caption)
    top = float(np.quantile(why.heat_tyx, 0.995)) or 1.0
    shown: AxesImage | None = None
    for number in range(frames):
        _frame(figure.add_subplot(grid[1, number]), why, number)
        shown = _heat(figure.add_subplot(grid[2, number]), why, number, top)
    assert shown is not None
    scale = figure.colorbar(shown, cax=figure.add_subplot(grid[2, frames]))
    scale.set_label("attention, even = 1", color=_SOFT)
    scale.ax.tick_params(labelsize=8, colors=_SOFT)
    if caption.line:
        _line(figure.add_subplot(grid[3, :frames]), caption.line)
    _bars(figure.add_subplot(grid[-1, :]), why, caption.chosen)
    stamp(figure, caption)
    return figure


def head_height(caption: Caption) -> float:
    """Inches that its words take."""
    return _LINE * (len(_words(caption)) + 1.6)


def head(axes: Axes, caption: Caption) -> None:
    """The words above a picture, in a room of `head_height`."""
    axes.set_axis_off()
    step = _LINE / head_height(caption)
    axes.text(0, 1, middle(caption.title), fontsize=13, weight="bold", color=_INK, va="top",
              transform=axes.transAxes, in_layout=False)  # fmt: skip
    for number, (kind, line) in enumerate(_words(caption)):
        size, weight, colour = _TYPES[kind]
        axes.text(
            0, 1 - step * (number + 1.4), line, va="top", transform=axes.transAxes, fontsize=size,
            weight=weight, color=colour, in_layout=False,
        )  # fmt: skip


def stamp(figure: Figure, caption: Caption) -> None:
    """Across everything, where there is one."""
    if caption.stamp:
        figure.text(0.5, 0.42, caption.stamp, rotation=18, fontsize=40, color=_WARN, alpha=0.45,
                    ha="center", va="center", weight="bold")  # fmt: skip


def _words(caption: Caption) -> list[tuple[str, str]]:
    """Kind and text of each line."""
    first, *more = caption.lines
    found = [("first", line) for line in textwrap.wrap(first, _WIDE_FIRST)]
    found += [("more", line) for words in more for line in textwrap.wrap(words, _WIDE)]
    if caption.warning:
        found += [("warning", line) for line in textwrap.wrap(caption.warning, _WIDE)]
    return found


def _frame(axes: Axes, why: Why, number: int) -> None:
    axes.imshow(why.clip_thwc[number])
    axes.set_title(why.times[number], fontsize=9, color=_SOFT)
    axes.set_axis_off()


def _heat(axes: Axes, why: Why, number: int, top: float) -> AxesImage:
    """Above the picture in grey, in units of what every patch would have if all had the same."""
    height, width = why.clip_thwc.shape[1:3]
    even = 1 / why.heat_tyx.size
    axes.imshow(np.asarray(why.clip_thwc[number]).mean(-1), cmap="gray", alpha=0.6)
    found = axes.imshow(
        why.heat_tyx[number] / even, cmap="inferno", alpha=0.55, vmin=0, vmax=top / even,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="bilinear",
    )  # fmt: skip
    axes.set_axis_off()
    return found


def _line(axes: Axes, line: Sequence[Stretch]) -> None:
    start, end = line[0].start, line[-1].end
    for one in line:
        colour = "#e9ecef" if one.seen else "white"
        axes.axvspan(one.start, one.end, color=colour, lw=0)
        if one.generated:
            axes.axvspan(one.start, one.end, color=_WARN, alpha=one.generated, lw=0)
    axes.set_xlim(start, end)
    axes.set_yticks([])
    axes.set_xlabel("seconds of the whole video; in colour: counts as generated", color=_SOFT)
    axes.tick_params(colors=_SOFT, labelsize=8)


def _bars(axes: Axes, why: Why, chosen: str) -> None:
    """Shares side by side, and what they come to: the verdict's class stands out."""
    width, places = 0.8 / (len(why.shares) + 1), np.arange(len(why.classes))
    total = np.zeros(len(why.classes))
    names = [f"{name} (verdict)" if name == chosen else name for name in why.classes]
    for index, (name, values) in enumerate(why.shares.items()):
        axes.bar(places + index * width, values, width, color=COLOURS[index], label=name)
        total = total + values
    bars = axes.bar(places + len(why.shares) * width, total, width, color=_INK, label="sum")
    axes.bar_label(bars, [f"{value:+.2f}" for value in total], fontsize=9, color=_INK, padding=2)
    axes.margins(y=0.18)
    axes.axhline(0, color=_SOFT, lw=0.8)
    axes.set_xticks(places + 0.4 - width / 2, names)
    for label in axes.get_xticklabels():
        label.set_color(_INK)
        if label.get_text() == f"{chosen} (verdict)":
            label.set_fontweight("bold")
    axes.set_ylabel("share of the logit, against\nthe average training video", color=_SOFT)
    axes.legend(ncols=len(why.shares) + 1, frameon=False, loc="lower left",
                bbox_to_anchor=(0, 1), fontsize=9)  # fmt: skip
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
