"""Where a person looks wrong: boxes on the frames that decided, and each person over time.

Legend: v views, f frames, p persons, k parts of a person.
"""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from extract.branches.anatomy import AnatomyBranch
from extract.decoding.frames import Frames, read_frames
from extract.decoding.picture import open_any
from extract.manifest.manifest import Manifest
from extract.running.pipeline import Settings
from extract.views.protocol import Protocol
from features_store.table import Table
from heads.errors import BadSetting
from heads.figures.charts import COLOURS, GREY
from heads.figures.why import Caption, head, head_height, stamp
from heads.scoring.findings import Finding, findings
from heads.zoo.anatomy import Anatomy

SHOWN = 4
"""Frames that are drawn, those with the worst parts."""
_WRONG, _FINE = "#d03030", "#3a9a4a"


def seen_persons(
    head: Anatomy, table: Table, branch: AnatomyBranch, rows: NDArray[np.generic],
    manifest: Manifest, settings: Settings,
) -> tuple[list[Finding], Frames]:  # fmt: skip
    """What was found, and the frames it was found in. `rows` are what a worker made of the
    manifest's one video."""
    boxes = branch.numpy(branch.forward(torch.from_numpy(rows)))["boxes"]
    (video,) = manifest.videos
    if video.segment is not None:
        raise BadSetting(
            f"{video.id} is a segment; the picture of persons is of whole videos. Give the video "
            f"without --segments."
        )
    with open_any(video.path, root=str(manifest.root), limits=settings.limits) as opened:
        info = opened.info
        views = Protocol.parse(settings.protocol).views(
            video.id, info.frames, fps=info.fps, seed=settings.seed
        )
        pictures = read_frames(opened, views)
    found = findings(head, table, boxes, [view.frames for view in views], info.fps)
    if not found:
        raise BadSetting(f"{video.id} has nobody in it, so there is nothing to explain.")
    return found, pictures


def said(found: Sequence[Finding]) -> list[str]:
    """In words."""
    wrong = sum(one.is_wrong for one in found)
    lines = ["", f"  {wrong} of {len(found)} parts are above their limit; the worst:"]
    return lines + [f"  {one.said}" for one in found[: 2 * SHOWN]]


def drawn_persons(found: Sequence[Finding], pictures: Frames, caption: Caption) -> Figure:
    """Boxes on frames, and a time line of each person."""
    with mpl.rc_context({"text.parse_math": False}):
        return _figure(found, pictures, caption)


def _figure(found: Sequence[Finding], pictures: Frames, caption: Caption) -> Figure:
    chosen = list(dict.fromkeys(one.frame for one in found))[:SHOWN]
    heights = [head_height(caption), 3.6, 2.0]
    figure = Figure(figsize=(max(3.2 * len(chosen), 9.0), sum(heights)), layout="constrained")
    grid = figure.add_gridspec(3, len(chosen), height_ratios=heights)
    head(figure.add_subplot(grid[0, :]), caption)
    for place, number in enumerate(sorted(chosen)):
        axes = figure.add_subplot(grid[1, place])
        axes.imshow(pictures[number])
        axes.set_axis_off()
        axes.set_title(f"frame {number}", fontsize=9, color=GREY)
        for one in (one for one in found if one.frame == number):
            _box(axes, one)
    _time_line(figure.add_subplot(grid[2, :]), found)
    stamp(figure, caption)
    return figure


def _box(axes: Axes, one: Finding) -> None:
    left, top, right, bottom = one.box
    colour = _WRONG if one.is_wrong else _FINE
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, lw=1.5)
    )
    axes.text(
        left, top, f"{one.person} {one.part} {one.score:.2f}", fontsize=7, color="white",
        va="bottom", bbox={"facecolor": colour, "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _time_line(axes: Axes, found: Sequence[Finding]) -> None:
    """Each person's worst part in every frame, as far from its limit."""
    for place, person in enumerate(sorted({one.person for one in found})):
        own: dict[int, Finding] = {}
        for one in found:  # the worst of a frame comes first
            if one.person == person:
                own.setdefault(one.frame, one)
        way = [own[number] for number in sorted(own)]
        axes.plot(
            [one.seconds for one in way], [one.doubt for one in way], "o-", ms=3,
            color=COLOURS[place % len(COLOURS)], label=f"person {person}",
        )  # fmt: skip
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set_xlabel("seconds")
    axes.set_ylabel("above the limit (logits)")
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
