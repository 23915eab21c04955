"""Why one video was judged as it was: which branch said what, and where the network looked.

The fused head is linear in each branch's vector (after its norm), so shares are exact: with the
bias they add up to the logit. Where it looked is the attention pool's weight on every patch, the
mean of its heads.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from extract.branch import Branch
from extract.branches.anatomy import AnatomyBranch
from extract.branches.internvideo2 import InternVideo2Branch
from extract.decoding.job import Job
from extract.decoding.pool import DecodePool
from extract.manifest.manifest import Manifest
from extract.running.pipeline import Settings, decode_plan
from features_store.table import Table
from heads.bundle import Bundle
from heads.errors import BadSetting
from heads.figures.charts import COLOURS, GREY
from heads.parts.arrays import ATTN, AVG, CLS, DEPTH
from heads.scoring.explain_persons import explain_persons
from heads.zoo.anatomy import Anatomy
from heads.zoo.fusion import Fusion

BIAS = "bias"
NAMES = {CLS: "class token", AVG: "mean token", ATTN: "attention", DEPTH: "depth", BIAS: "bias"}
PICTURES = (".png", ".svg", ".pdf", ".jpg")
Floats = NDArray[np.float32]


def shares(head: Fusion, table: Table) -> dict[str, Floats]:
    """Array → (n, V, C): what it adds to each class's logit; `bias` is (C). They add up."""
    return {key: part.numpy() for key, part in head.contributions(table, slice(None)).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One video's verdict, taken apart."""

    picture: bytes
    lines: Sequence[str]
    """The same in words."""


def check_picture(path: Path) -> None:
    if path.suffix not in PICTURES:
        raise BadSetting(f"--explain {path.name}: end it in {', '.join(PICTURES)}.")


def explain(
    bundle: Bundle,
    branches: Sequence[Branch],
    manifest: Manifest,
    settings: Settings,
    caption: str,
    kind: str = "png",
) -> Explanation:
    """Of the manifest's one video. `caption` stands above the picture."""
    if isinstance(bundle.head, Anatomy):
        return _of_persons(bundle, branches, manifest, settings, caption, kind)
    if not isinstance(bundle.head, Fusion) or bundle.head.config.down_norm == "ln":
        raise BadSetting("Explanations need a head fusion (with down_norm=bn or none) or anatomy.")
    views = _prepared(branches, manifest, settings)
    table = _table(bundle, branches, views, settings.protocol)
    parts = shares(bundle.head, table)
    means = {key: part.reshape(-1, part.shape[-1]).mean(0) for key, part in parts.items()}
    video = next(b for b in branches if isinstance(b, InternVideo2Branch))
    clip = views[video.prepare.name][0]
    heat = attention_map(video, torch.from_numpy(clip[None]))[0]
    figure = _drawn(clip, heat, means, bundle.classes)
    picture = _saved(figure, caption, kind)
    total = sum(means.values())
    assert isinstance(total, np.ndarray)
    lines = ["", "  shares of the logit (they add up):"]
    header = "".join(f"{name:>12}" for name in bundle.classes)
    lines.append(f"  {'':12}{header}")
    lines += [
        f"  {NAMES.get(key, key):12}" + "".join(f"{v:12.3f}" for v in part)
        for key, part in means.items()
    ]
    lines.append(f"  {'logit':12}" + "".join(f"{v:12.3f}" for v in total))
    return Explanation(picture=picture, lines=lines)


def _of_persons(
    bundle: Bundle,
    branches: Sequence[Branch],
    manifest: Manifest,
    settings: Settings,
    caption: str,
    kind: str,
) -> Explanation:
    """Boxes on frames, in place of shares and attention."""
    assert isinstance(bundle.head, Anatomy)
    views = _prepared(branches, manifest, settings)
    table = _table(bundle, branches, views, settings.protocol)
    branch = next(each for each in branches if isinstance(each, AnatomyBranch))
    rows = views[branch.prepare.name]
    figure, lines = explain_persons(bundle.head, table, branch, rows, manifest, settings)
    return Explanation(picture=_saved(figure, caption, kind), lines=lines)


def _saved(figure: Figure, caption: str, kind: str) -> bytes:
    figure.suptitle(caption.replace("$", r"\$"), fontsize=10)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format=kind)
    return picture.getvalue()


@torch.no_grad()
def attention_map(branch: InternVideo2Branch, clips: Tensor) -> Floats:
    """(B, T, side, side): the pool's attention on every patch; the class token's is left out."""
    model = branch.model
    tokens = model.run(model.embed(branch.normalised(clips.to(branch.device))))
    tokens = model.adapted(tokens).float()
    weights = model.clip_projector.weights(tokens)[:, 1:]
    a = model.architecture
    found: Floats = weights.reshape(len(clips), a.frames, a.side, a.side).cpu().numpy()
    return found


def _prepared(
    branches: Sequence[Branch], manifest: Manifest, settings: Settings
) -> dict[str, NDArray[np.generic]]:
    """What a decode worker makes of the video."""
    (video,) = manifest.videos
    with DecodePool(decode_plan(branches, settings, str(manifest.root))) as pool:
        for outcome in pool.run([Job(index=0, id=video.id, path=video.path)]):
            if outcome.failure is not None:
                raise outcome.failure
            return {name: array.copy() for name, array in outcome.arrays.items()}
    raise BadSetting("The video yielded nothing.")


def _table(
    bundle: Bundle,
    branches: Sequence[Branch],
    views: Mapping[str, NDArray[np.generic]],
    protocol: str,
) -> Table:
    """The video's features as a table of one row."""
    found: dict[str, NDArray[np.generic]] = {}
    for branch in branches:
        numbers = branch.numpy(branch.forward(torch.from_numpy(views[branch.prepare.name])))
        found |= {f"{branch.name}/{name}": array[None] for name, array in numbers.items()}
    text = np.dtypes.StringDType()
    one = np.array([""], text)
    return Table(
        protocol=protocol, classes=bundle.classes, rows=np.arange(1), ids=one,
        labels=np.array([-1], np.int16), ranks=np.array([np.nan]), sources=one, splits=one,
        arrays={key: found[key] for key in bundle.head.keys},
        fingerprints=dict(bundle.about.fingerprints),
    )  # fmt: skip


def _drawn(
    clip_thwc: NDArray[np.generic],
    heat: Floats,
    means: Mapping[str, Floats],
    classes: Sequence[str],
) -> Figure:
    frames = len(clip_thwc)
    figure = Figure(figsize=(1.6 * frames, 6.4), layout="constrained")
    grid = figure.add_gridspec(3, frames, height_ratios=(1, 1, 1.5))
    top = float(np.quantile(heat, 0.995)) or 1.0
    for number in range(frames):
        plain, hot = (figure.add_subplot(grid[row, number]) for row in (0, 1))
        plain.imshow(clip_thwc[number])
        plain.set_title(f"frame {number + 1}", fontsize=9, color=GREY)
        hot.imshow(np.asarray(clip_thwc[number]).mean(-1), cmap="gray", alpha=0.6)
        hot.imshow(
            heat[number], cmap="inferno", alpha=0.55, vmin=0, vmax=top,
            extent=(-0.5, clip_thwc.shape[2] - 0.5, clip_thwc.shape[1] - 0.5, -0.5),
            interpolation="bilinear",
        )  # fmt: skip
        for axes in (plain, hot):
            axes.set_axis_off()
    bars = figure.add_subplot(grid[2, :])
    width = 0.8 / len(means)
    places = np.arange(len(classes))
    for index, (key, values) in enumerate(means.items()):
        bars.bar(
            places + index * width, values, width, color=COLOURS[index], label=NAMES.get(key, key)
        )
    bars.axhline(0, color=GREY, lw=0.8)
    bars.set_xticks(places + 0.4 - width / 2, list(classes))
    bars.set_ylabel("share of the logit")
    bars.legend(ncols=len(means), frameon=False)
    for side in ("top", "right"):
        bars.spines[side].set_visible(False)
    return figure
