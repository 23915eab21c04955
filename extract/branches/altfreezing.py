"""AltFreezing's 3D ResNet-50 on aligned windows of faces: `altfreezing=R50:FILE?boxes=FACES`.

`boxes` is a file of faces with their five points, see `extract.people.boxes_file`. A view is one
window of one face's track; outputs: `vector`, what the last layer sees of it, `logit` (the larger,
the more forged), `present`, whether there is a window, and `where` it is. A video without a face
that can be followed has none: that is a result of its own. Vectors take no preprocessing by OpenCV,
so numbers do not depend on its version; `?warp=opencv5` aligns as its newer versions do.
Legend: b views, t frames, s side of a picture, c colour.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.decoding.job import CLIPS, Output
from extract.encoders.branch_parts import PRESENT
from extract.errors import BadSetting, BadWeights
from extract.networks import resnet3d, weights
from extract.networks.resnet3d import Kind, ResNet3d
from extract.people import alignment, tracking
from extract.people.boxes_file import read_boxes
from extract.people.face_windows import HEADER, WHERE, FaceLook
from extract.people.warping import RULES
from extract.trainable import OwnHead, Trainable
from extract.views.transforms import IMAGENET_MEAN, IMAGENET_STD
from features_store.schema import ArraySpec, fingerprint

REVISION = 1
FACE_OPTIONS = ("boxes", "frames", "first", "warp")
OPTIONS = (*FACE_OPTIONS, "dtype", "random")
TRAINABLE = ("altfreezing",)
PROJECTION = "resnet.head.projection"
WINDOW_AXES = 5
"""Of windows without the bytes that say where they are."""
VECTOR, LOGIT, PLACE = "vector", "logit", "where"
_LONGEST = 100_000
_MOST_FRAMES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What decides the network's shape, beside how many frames it looks at."""

    width: int
    image: int
    frames: int


PRESETS = {
    "R50": Preset(width=resnet3d.WIDTH, image=resnet3d.IMAGE, frames=resnet3d.FRAMES),
    "tiny": Preset(width=8, image=64, frames=8),
}


class Faces:
    """Which windows of faces a branch looks at, and their bytes on the device."""

    def __init__(self, request: BranchRequest, frames: int, side: int) -> None:
        self.frames, self.side = frames, side
        if "boxes" not in request.options:
            raise BadSetting(
                f"{request.name}={request.preset} looks at faces that somebody found: give "
                f"?boxes=FILE, with five points of each face (`telltale people VIDEOS --detector "
                f"mtcnn --out FILE`, or any detector's)."
            )
        boxes = read_boxes(Path(request.options["boxes"]).expanduser().absolute())
        asked = request.option("warp", RULES[0], RULES)
        rule = next(rule for rule in RULES if rule == asked)
        first = 0
        if "first" in request.options:
            first = request.whole_number("first", 1, _LONGEST)
        self.decides = {
            "boxes": boxes.decides, "first": first, "side": side, "frames": frames, "warp": rule,
            "template": alignment.TEMPLATE,
            "tracking": [tracking.LEAST_SCORE, tracking.FIRST_SCORE, tracking.SAME],
        }  # fmt: skip
        look = FaceLook(
            boxes=str(boxes.path), content=boxes.hash, first=first, side=side, rule=rule
        )
        self.output = Output(
            name=f"faces-{frames}-{fingerprint(self.decides)[:8]}",
            function="extract.people.face_windows:face_windows",
            shape=(HEADER + frames * side * side * 3,), dtype="uint8", frames=frames,
            consecutive=True, options=tuple(asdict(look).items()),
        )  # fmt: skip

    def taken_apart(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whether there is a window (b, 1), where (b, 4), and its pictures (b, t, s, s, c)."""
        where = batch[:, 1:HEADER].flatten().clone().view(torch.int32).view(-1, WHERE)
        shape = (len(batch), self.frames, self.side, self.side, 3)
        return batch[:, :1], where, batch[:, HEADER:].reshape(shape)

    def example(self, count: int, device: torch.device) -> Tensor:
        """Noise; every view has a window."""
        rows = torch.randint(0, 256, (count, *self.output.shape), dtype=torch.uint8, device=device)
        rows[:, 0] = 1
        return rows


FACE_ARRAYS = {
    PRESENT: ArraySpec(shape=(1,), dtype="uint8"),
    PLACE: ArraySpec(shape=(WHERE,), dtype="int32"),
}


class AltFreezingBranch(Branch):
    """The frozen network."""

    name = "altfreezing"

    def __init__(self, request: BranchRequest, model: ResNet3d, source: str) -> None:
        preset = PRESETS[request.preset]
        self.preset = request.preset
        self.device = torch.device(request.device)
        self.precision = request.computes_in
        self.faces = Faces(request, model.frames, model.image)
        self.prepare = self.faces.output
        dtype = request.option("dtype", "float32", ("float16", "float32"))
        self.outputs = {
            VECTOR: ArraySpec(shape=(model.channels,), dtype=dtype),
            LOGIT: ArraySpec(shape=(1,), dtype=dtype),
            **FACE_ARRAYS,
        }
        self.decides = {
            "architecture": {"width": preset.width, "frames": model.frames, "image": model.image},
            "weights": weights.content_hash(model.state_dict()),
            "preprocessing": {**self.faces.decides, "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
            "precision": self.precision,
            "revision": REVISION,
        }
        self.provenance = {"source": source}
        self.model = model.to(self.device).eval().requires_grad_(requires_grad=False)
        self._statistics = statistics(self.device)

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        present_b1, where_b4, clips_btssc = self.faces.taken_apart(batch)
        pictures = normalised(clips_btssc, *self._statistics)
        vectors_bd = self.model.vectors(pictures)[:, 0]
        logits_b1 = self.model.logits(vectors_bd)[:, None]
        return {
            VECTOR: vectors_bd * present_b1, LOGIT: logits_b1 * present_b1,
            PRESENT: present_b1, PLACE: where_b4,
        }  # fmt: skip

    def trainable(self) -> "AltFreezingTraining":
        return AltFreezingTraining(self.model, self.faces)

    def example(self, count: int) -> Tensor:
        return self.faces.example(count, self.device)


class AltFreezingTraining(Trainable):
    """Kernels of space and of time, which learn in turns; a view without a window has no part."""

    pooled = (VECTOR,)
    own_head = OwnHead(vector=VECTOR, weight=f"{PROJECTION}.weight", bias=f"{PROJECTION}.bias")

    def __init__(self, model: ResNet3d, faces: Faces) -> None:
        self.model: ResNet3d = model
        self.layers = model.depth + 1
        self._faces = faces
        self._mean, self._std = statistics(torch.device("cpu"))

    def layer_of(self, name: str) -> int:
        return self.model.layer_of(name)

    def kind_of(self, name: str) -> Kind:
        return self.model.kind_of(name)

    def takes(self, branch: str, decides: Mapping[str, object]) -> str | None:
        """Windows that the branch `faces` has kept, if they are the same ones."""
        ours = self._faces.decides
        same = fingerprint({name: decides.get(name) for name in ours}) == fingerprint(ours)
        return CLIPS.name if branch == "faces" and same else None

    def enter(self, rows: Tensor, layer: int) -> Tensor:
        """(b, c, t, s, s); all zeros where there is no window, as no picture is."""
        del layer
        if rows.ndim == WINDOW_AXES:
            there, clips_btssc = rows.flatten(1).any(1), rows
        else:
            there_b1, _, clips_btssc = self._faces.taken_apart(rows)
            there = there_b1[:, 0].bool()
        mean, std = (x.to(rows.device) for x in (self._mean, self._std))
        return normalised(clips_btssc, mean, std) * there[:, None, None, None, None]

    def vectors(self, x: Tensor, layer: int, keep: Tensor | None = None) -> dict[str, Tensor]:
        del layer, keep
        there_b = x.detach().flatten(1).any(1)
        # Of no window the network sees none: a black one would move its batch norms' statistics.
        found = self.model.vectors(x[there_b])[:, 0]
        whole_bd = found.new_zeros(len(x), found.shape[-1])
        whole_bd[there_b] = found
        return {VECTOR: whole_bd, PRESENT: there_b[:, None].to(torch.uint8)}


def normalised(clips_btssc: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Windows in bytes as the network takes them, (b, c, t, s, s)."""
    return (clips_btssc.permute(0, 4, 1, 2, 3).float() - mean) / std


def statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation of colours in bytes, to be kept."""
    mean, std = ((torch.tensor(x) * 255).view(3, 1, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    return mean.to(device), std.to(device)


def load(request: BranchRequest) -> AltFreezingBranch:
    request.check_options(OPTIONS)
    if request.preset not in PRESETS:
        raise BadSetting(
            f"Branch altfreezing: preset {request.preset!r} unknown; have: {', '.join(PRESETS)}."
        )
    preset = PRESETS[request.preset]
    frames = even_frames(request, preset.frames)
    shape = {"width": preset.width, "frames": frames, "image": preset.image}
    if request.weights is not None:
        request.wants_random("tiny")
        state = weights.read_state(request.weights)
        return AltFreezingBranch(request, resnet3d.from_state(state, **shape), request.weights.name)
    request.wants_random("tiny")
    if request.preset != "tiny":
        raise BadWeights(
            "altfreezing=R50 needs weights: altfreezing=R50:PATH, with the checkpoint that the "
            "repository ZhendongWang6/AltFreezing links. To try things out there is "
            "altfreezing=tiny, with random numbers."
        )
    return AltFreezingBranch(request, resnet3d.random(6, **shape), weights.RANDOM)


def even_frames(request: BranchRequest, default: int) -> int:
    """How many frames a window has; time is halved once."""
    frames = request.whole_number("frames", default, _MOST_FRAMES)
    if frames % 2:
        raise BadSetting(
            f"Branch {request.name}: frames={frames}: give an even number, since the network "
            f"halves it."
        )
    return frames
