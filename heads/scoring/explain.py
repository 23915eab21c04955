"""Why one video was judged as it was: which branch said what, and where the network looked.

The fused head is linear in each branch's vector (after its norm), so shares are exact: with the
bias they add up to the logit. Where it looked is the attention pool's weight on every patch, the
mean of its heads.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from extract.branch import Branch
from extract.branches.anatomy import AnatomyBranch
from extract.branches.internvideo2 import InternVideo2Branch
from extract.decoding.info import VideoInfo
from extract.decoding.job import Job
from extract.decoding.pool import DecodePool
from extract.manifest.manifest import Manifest, Video
from extract.running.pipeline import Settings, decode_plan
from extract.views.protocol import Protocol
from features_store.table import Table
from heads.bundle import Bundle
from heads.errors import BadSetting
from heads.figures.why import Caption, Why, drawn
from heads.head import Head
from heads.parts.arrays import ATTN, AVG, CLS, DEPTH
from heads.scoring.explain_persons import drawn_persons, frames_of, said, seen_persons
from heads.scoring.timelines import clock, seconds_of
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
    shares: Mapping[str, Floats] = field(default_factory=dict)
    """Name → what it adds to each class's logit."""
    preview: bytes = b""
    """The picture as PNG, for a page."""


def check_picture(path: Path) -> None:
    if path.suffix not in PICTURES:
        raise BadSetting(f"--explain {path.name}: end it in {', '.join(PICTURES)}.")


def explains(head: Head) -> bool:
    """Whether verdicts of this head can be taken apart."""
    return isinstance(head, Anatomy) or (isinstance(head, Fusion) and head.config.down_norm != "ln")


def explain(
    bundle: Bundle,
    branches: Sequence[Branch],
    manifest: Manifest,
    settings: Settings,
    caption: Caption,
    kind: str = "png",
) -> Explanation:
    """Of the manifest's one row."""
    if isinstance(bundle.head, Anatomy):
        return _of_persons(bundle, branches, manifest, settings, caption, kind)
    if not explains(bundle.head) or not isinstance(bundle.head, Fusion):
        raise BadSetting("Explanations need a head fusion (with down_norm=bn or none) or anatomy.")
    views, info = _prepared(branches, manifest, settings)
    table = _table(bundle, branches, views, settings.protocol)
    parts = shares(bundle.head, table)
    means = {
        NAMES.get(key, key): part.reshape(-1, part.shape[-1]).mean(0) for key, part in parts.items()
    }
    video = next(b for b in branches if isinstance(b, InternVideo2Branch))
    clip = views[video.prepare.name][0]
    why = Why(
        clip_thwc=clip, times=frame_times(manifest.videos[0], info, settings),
        heat_tyx=attention_map(video, torch.from_numpy(clip[None]))[0],
        shares=means, classes=bundle.classes,
    )  # fmt: skip
    return _saved(drawn(why, caption), _lines(means, bundle.classes), kind, means)


def _of_persons(
    bundle: Bundle,
    branches: Sequence[Branch],
    manifest: Manifest,
    settings: Settings,
    caption: Caption,
    kind: str,
) -> Explanation:
    """Boxes on frames, in place of shares and attention."""
    assert isinstance(bundle.head, Anatomy)
    views, info = _prepared(branches, manifest, settings)
    table = _table(bundle, branches, views, settings.protocol)
    branch = next(each for each in branches if isinstance(each, AnatomyBranch))
    numbers = branch.numpy(branch.forward(torch.from_numpy(views[branch.prepare.name])))
    (video,) = manifest.videos
    found = seen_persons(bundle.head, table, numbers["boxes"], video, settings, info)
    pictures = frames_of(found, manifest, settings)
    return _saved(drawn_persons(found, pictures, caption), said(found), kind)


def _saved(
    figure: Figure, lines: Sequence[str], kind: str, shares: Mapping[str, Floats] | None = None
) -> Explanation:
    files = {name: io.BytesIO() for name in {kind, "png"}}
    for name, file in files.items():
        figure.savefig(file, dpi=110, format=name)
    return Explanation(
        picture=files[kind].getvalue(), lines=lines, shares=shares or {},
        preview=files["png"].getvalue(),
    )  # fmt: skip


def _lines(means: Mapping[str, Floats], classes: Sequence[str]) -> list[str]:
    total = sum(means.values())
    assert isinstance(total, np.ndarray)
    lines = ["", "  shares of the logit (they add up):"]
    header = "".join(f"{name:>12}" for name in classes)
    lines.append(f"  {'':12}{header}")
    lines += [f"  {name:12}" + "".join(f"{v:12.3f}" for v in part) for name, part in means.items()]
    lines.append(f"  {'logit':12}" + "".join(f"{v:12.3f}" for v in total))
    return lines


def frame_times(video: Video, info: VideoInfo, settings: Settings) -> list[str]:
    """When the first view's frames are shown."""
    protocol = Protocol.parse(settings.protocol)
    view = protocol.views(video.id, info.frames, fps=info.fps, seed=settings.seed)[0]
    start = video.segment.start if video.segment else 0.0
    return [clock(start + second) for second in seconds_of(info, view.frames)]


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
) -> tuple[dict[str, NDArray[np.generic]], VideoInfo]:
    """What a decode worker makes of the video, and what it is."""
    (video,) = manifest.videos
    with DecodePool(decode_plan(branches, settings, str(manifest.root))) as pool:
        for outcome in pool.run([Job(index=0, id=video.id, path=video.path)]):
            if outcome.failure is not None:
                raise outcome.failure
            assert outcome.info is not None
            for reason in (why for seen in outcome.seen.values() for why in seen.lacking.values()):
                raise reason
            found = {name: array.copy() for name, array in outcome.arrays.items()}
            return found, outcome.info
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
