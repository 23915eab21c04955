"""Where a person looks wrong: boxes on the frames that decided, and each person over time.

Legend: v views, f frames, p persons, k parts of a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from extract.decoding.info import VideoInfo
from extract.decoding.job import SCANNED, Job, Plan
from extract.decoding.pool import DecodePool
from extract.decoding.stills import Stills
from extract.manifest.manifest import Manifest, Video
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
_SIDE = 640
"""Pixels of a frame's longer side, at most."""
_WRONG, _FINE = "#d03030", "#3a9a4a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Frames, made small."""

    size: tuple[int, int]
    """Width and height of the video's, in which boxes are."""
    images: Mapping[int, NDArray[np.uint8]]
    """By their numbers."""


def seen_persons(
    head: Anatomy, table: Table, boxes_vfpk5: NDArray[np.float32], video: Video,
    settings: Settings, info: VideoInfo,
) -> list[Finding]:  # fmt: skip
    """What was found in a table of one video, the worst first."""
    views = Protocol.parse(settings.protocol).views(
        video.id, info.frames, fps=info.fps, seed=settings.seed
    )
    found = findings(head, table, boxes_vfpk5, [view.frames for view in views], info.fps)
    if not found:
        raise BadSetting(f"{video.id} has nobody in it, so there is nothing to explain.")
    start = video.segment.start if video.segment else 0.0
    return [replace(one, seconds=start + one.seconds) for one in found]


def frames_of(found: Sequence[Finding], manifest: Manifest, settings: Settings) -> Pictures:
    """Those that are drawn, of the manifest's one video; decoded in a guarded worker."""
    (video,) = manifest.videos
    chosen = _worst(found)
    plan = Plan(
        looks=(), stills=Stills(count=0, side=_SIDE, besides=SHOWN), root=str(manifest.root),
        decoder=settings.decoder, limits=settings.limits,
    )  # fmt: skip
    with DecodePool(plan) as pool:
        (outcome,) = pool.run([Job(index=0, id=video.id, path=video.path, besides=chosen)])
    if outcome.failure is not None or outcome.info is None:
        raise outcome.failure or BadSetting(f"{video.id} yielded nothing.")
    images = np.asarray(outcome.arrays[SCANNED], np.uint8).copy()
    return Pictures(
        size=(outcome.info.width, outcome.info.height),
        images=dict(zip(chosen, images, strict=True)),
    )


def _worst(found: Sequence[Finding]) -> tuple[int, ...]:
    """The frames with the worst parts, in order of time."""
    return tuple(sorted(list(dict.fromkeys(one.frame for one in found))[:SHOWN]))


def said(found: Sequence[Finding]) -> list[str]:
    """In words."""
    wrong = sum(one.is_wrong for one in found)
    lines = ["", f"  {wrong} of {len(found)} parts are above their limit; the worst:"]
    return lines + [f"  {one.said}" for one in found[: 2 * SHOWN]]


def drawn_persons(found: Sequence[Finding], pictures: Pictures, caption: Caption) -> Figure:
    """Boxes on frames, and a time line of each person."""
    with mpl.rc_context({"text.parse_math": False}):
        return _figure(found, pictures, caption)


def _figure(found: Sequence[Finding], pictures: Pictures, caption: Caption) -> Figure:
    chosen, (width, height) = _worst(found), pictures.size
    heights = [head_height(caption), 3.6, 2.0]
    figure = Figure(figsize=(max(3.2 * len(chosen), 9.0), sum(heights)), layout="constrained")
    grid = figure.add_gridspec(3, len(chosen), height_ratios=heights)
    head(figure.add_subplot(grid[0, :]), caption)
    for place, number in enumerate(chosen):
        axes = figure.add_subplot(grid[1, place])
        axes.imshow(pictures.images[number], extent=(0, width, height, 0))
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
