"""Persons, faces and hands, each seen by a network of its own: VBench-2.0's human anomaly.

`anatomy=B:FOLDER?boxes=boxes.parquet`; the folder has human, face and hand as .pth or
.safetensors. Every person of a frame has three parts; of several faces or hands the one that looks
worst counts, which is what the released verdict comes to. Outputs per frame, person and part:
`boxes` (corners and the detector's score), `logits` (two: by default the first says abnormal),
`vectors` (what they are made of), `person` (whose it is; -1: there is no such part), and `present`,
which frames have anybody in them. One file of weights in place of the folder (SimMIM's
pre-training) gives `vectors` alone, for heads to be trained on.

`boxes=whole-person` (`-face`, `-hand`) is for pictures that are such crops already: that part's
network alone is there, can be trained, and gives `vector`, one for each frame.
Legend: b views, f frames, p persons, s slots of a person, k parts, n crops, d channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from extract.branch import Branch, BranchRequest
from extract.decoding.job import Output
from extract.errors import BadSetting, BadWeights
from extract.networks import simmim, weights
from extract.networks.simmim import Architecture, SimMim
from extract.people.crop_rows import headers, normalised, pixels_of
from extract.people.crop_training import PRESENT, VECTOR, CropTraining
from extract.people.detections import KINDS
from extract.people.person_crops import HEADER, WHOLE, CropPlan, plan_of
from extract.views.sampling import CLIP_FRAMES
from features_store.schema import ArraySpec, fingerprint

REVISION = 1
OPTIONS = (
    "boxes", "frames", "persons", "faces", "hands", "size", "colour", "abnormal", "identity",
    "empty-box", "dtype",
)  # fmt: skip
TRAINABLE = ("anatomy",)
PARTS = ("human", "face", "hand")
"""Names of the released files, in the order of KINDS."""
PRESETS: Mapping[str, Architecture] = {
    "B": simmim.B,
    "tiny": Architecture(image=64, width=32, depth=2, heads=2),
}
MAX_FRAMES = 256
AT_ONCE = 128
"""Crops that a network is given at a time; as many as the released code gives it."""
NOBODY = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """Those that look at anything, and where their numbers are from."""

    by_part: Mapping[str, SimMim]
    source: str
    judge: bool = True
    """Whether their last layers were trained, so that logits mean something."""

    @property
    def architecture(self) -> Architecture:
        return next(iter(self.by_part.values())).architecture


class AnatomyBranch(Branch):
    """Crops of all views of a batch fill the networks' batches together."""

    name = "anatomy"
    frozen = (
        "where a file says who is where, three networks judge at once, and one is trained at a "
        "time, on pictures that are crops of its kind: give boxes=whole-person, whole-face or "
        "whole-hand"
    )

    def __init__(self, request: BranchRequest, models: "Networks", plan: CropPlan) -> None:
        self.preset = request.preset
        self.device = torch.device(request.device)
        self.precision = request.computes_in
        self.plan = plan
        self.abnormal = int(request.option("abnormal", "0", ("0", "1")))
        frames = request.whole_number("frames", CLIP_FRAMES, MAX_FRAMES)
        self.frames = frames
        self.prepare = Output(
            name=f"person-crops-{frames}-{fingerprint(plan.plain())[:8]}",
            function="extract.people.person_crops:person_crops", shape=plan.shape(frames),
            dtype="uint8", frames=frames, options=tuple(plan.plain().items()),
        )  # fmt: skip
        self._width = width = models.architecture.width
        of_parts = (frames, plan.persons, len(PARTS))
        vectors = request.option("dtype", "float16", ("float16", "float32"))
        outputs = {
            "vectors": ArraySpec(shape=(*of_parts, width), dtype=vectors),
            "logits": ArraySpec(shape=(*of_parts, 2), dtype="float32"),
            "boxes": ArraySpec(shape=(*of_parts, 5), dtype="float32"),
            "person": ArraySpec(shape=of_parts, dtype="int32"),
            PRESENT: ArraySpec(shape=(frames,), dtype="uint8"),
        }
        if plan.only is not None:
            outputs[VECTOR] = ArraySpec(shape=(frames, width), dtype=vectors)
        if not models.judge:
            del outputs["logits"]
        self.outputs = outputs
        self.model = nn.ModuleDict(models.by_part)
        self.decides = {
            "architecture": asdict(models.architecture),
            "weights": weights.content_hash(self.model.state_dict()),
            "preprocessing": plan.decides(),
            "abnormal": self.abnormal,
            "precision": self.precision,
            "revision": REVISION,
        }
        self.provenance = {"source": models.source, "boxes": plan.boxes}
        self.model = self.model.to(self.device).eval().requires_grad_(requires_grad=False)
        self._mean, self._std = (
            torch.tensor(numbers, device=self.device).view(3, 1, 1)
            for numbers in (plan.look.mean, plan.look.std)
        )

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        there_bfps, person_bfps, boxes_bfps5 = headers(batch)
        shape = there_bfps.shape[:3]
        found: dict[str, list[Tensor]] = {name: [] for name in ("boxes", "logits", "vectors")}
        persons = []
        for kind, part in zip(KINDS, PARTS, strict=True):
            slots = [place for place, each in enumerate(self.plan.kinds) if each == kind]
            there = there_bfps[..., slots]
            logits, vectors = self._seen(part, batch[..., slots, :], there)
            worst = self._worst(logits, there)
            picked = {"boxes": boxes_bfps5[..., slots, :], "logits": logits, "vectors": vectors}
            for name, numbers in picked.items():
                index = worst[..., None, None].expand(*shape, 1, numbers.shape[-1])
                one = numbers.gather(3, index)[..., 0, :]
                found[name].append(one * there.any(-1)[..., None])
            owner = person_bfps[..., slots].gather(3, worst[..., None])[..., 0]
            persons.append(torch.where(there.any(-1), owner, NOBODY))
        made = {name: torch.stack(parts, 3) for name, parts in found.items()}
        made["person"] = torch.stack(persons, 3)
        made[PRESENT] = there_bfps.flatten(2).any(2).to(torch.uint8)
        if self.plan.only is not None:
            own = KINDS.index(self.plan.kinds[self.plan.only])
            made[VECTOR] = made["vectors"][:, :, 0, own]
        return {name: made[name] for name in self.outputs}

    def trainable(self) -> CropTraining | None:
        if self.plan.only is None:
            return None
        (model,) = self.model.values()
        assert isinstance(model, SimMim)
        return CropTraining(model, self.plan, self.abnormal)

    def _worst(self, logits: Tensor, there: Tensor) -> Tensor:
        """Which slot looks most abnormal, of those that are there; the first where none is."""
        doubt = logits[..., self.abnormal] - logits[..., 1 - self.abnormal]
        return doubt.masked_fill(~there, -torch.inf).argmax(-1)

    def _seen(self, part: str, slots: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and vectors of every slot of a kind; zeros where there is no crop."""
        pixels = pixels_of(slots[there], self.plan.size)
        vectors = torch.zeros((*there.shape, self._width), device=self.device)
        logits = torch.zeros((*there.shape, 2), device=self.device)
        if len(pixels):
            model = self.model[part]
            assert isinstance(model, SimMim)
            parts = [self._vectors(model, few) for few in torch.split(pixels, AT_ONCE)]
            vector_nd = torch.cat(parts)
            vectors[there] = vector_nd.float()
            logits[there] = model.head(vector_nd).float()
        return logits, vectors

    def _vectors(self, model: SimMim, pixels_nhwc: Tensor) -> Tensor:
        return model.feature(normalised(pixels_nhwc, self._mean, self._std))

    def example(self, count: int) -> Tensor:
        """Noise; everybody is there who can be."""
        shape = (count, *self.prepare.shape)
        rows = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)
        numbers = torch.randint(0, 64, (*shape[:-1], HEADER.itemsize // 4), device=self.device)
        there = torch.ones_like(numbers[..., :1])
        if self.plan.only is not None:
            there[:] = 0
            there[:, :, 0, self.plan.only] = 1
        whole = torch.cat([there, numbers[..., 1:2]], -1).to(torch.int32)
        parts = [whole.view(torch.uint8), numbers[..., 2:].float().view(torch.uint8)]
        rows[..., : HEADER.itemsize] = torch.cat(parts, -1)
        return rows


def load(request: BranchRequest) -> AnatomyBranch:
    request.check_options(OPTIONS)
    if request.preset not in PRESETS:
        raise BadSetting(f"Branch anatomy: preset {request.preset!r} unknown; have: B, tiny.")
    models = _models(request)
    return AnatomyBranch(request, models, _plan(request, models.architecture.image))


def _plan(request: BranchRequest, size: int) -> CropPlan:
    boxes = request.options.get("boxes")
    if boxes is None:
        raise BadSetting(
            f"Branch anatomy needs to know where people are: ?boxes=FILE, as `telltale people` "
            f"writes it, or {', '.join(WHOLE)} where every picture is such a crop already."
        )
    whole = boxes in WHOLE
    return plan_of(
        boxes,
        persons=request.whole_number("persons", 1 if whole else 4, 32),
        faces=request.whole_number("faces", 1, 8),
        hands=request.whole_number("hands", 1 if whole else 2, 8),
        size=size,
        bgr=request.option("colour", "rgb", ("rgb", "bgr")) == "bgr",
        identity=request.option("identity", "track", ("track", "rank")),
        empty_box=request.option("empty-box", "skip", ("skip", "error")),
    )


def _models(request: BranchRequest) -> Networks:
    given, architecture = request.weights, PRESETS[request.preset]
    parts = _parts(request.options.get("boxes", ""))
    size = request.whole_number("size", architecture.image, 512)
    if size % simmim.PATCH:
        raise BadSetting(f"anatomy?size={size}: give a multiple of {simmim.PATCH}.")
    if given is None:
        if request.preset != "tiny":
            raise BadWeights(
                "anatomy=B needs weights: anatomy=B:FOLDER, with human, face and hand (.pth or "
                f".safetensors) of VBench-2.0, or one file, {simmim.FILES}."
            )
        drawn = _random(replace(architecture, image=size), parts)
        return Networks(by_part=drawn, source=weights.RANDOM)
    files = {part: _file(given, part) for part in parts}
    wanted = size if "size" in request.options or request.preset == "B" else None
    models: dict[str, SimMim] = {}
    lacking: list[str] = []
    for part, path in files.items():
        models[part], lacks = simmim.from_state(weights.read_state(path), wanted)
        lacking += lacks
        found = models[part].architecture
        if request.preset == "B" and (found.width, found.depth) != (768, 12):
            raise BadWeights(
                f"{path} is a network of width {found.width} and {found.depth} blocks, anatomy=B "
                f"has 768 and 12; small ones are anatomy=tiny:{given}."
            )
    if len({model.architecture for model in models.values()}) > 1:
        raise BadWeights(f"The networks in {given} are not of one size; crops are made for one.")
    note = " (no trained heads: vectors alone)" if lacking else ""
    return Networks(by_part=models, source=f"{given.name}{note}", judge=not lacking)


def _parts(boxes: str) -> list[str]:
    """Whose networks look at anything: of pictures that are crops already, one."""
    only = WHOLE.get(boxes)
    return [part for kind, part in zip(KINDS, PARTS, strict=True) if only in (None, kind)]


def _file(given: Path, part: str) -> Path:
    """Of one of the networks; a single file serves all."""
    if not given.is_dir():
        return given
    found = [given / f"{part}{suffix}" for suffix in (".pth", ".safetensors")]
    there = [path for path in found if path.is_file()]
    if len(there) != 1:
        raise BadWeights(f"{given} needs one file {part}.pth or {part}.safetensors.")
    return there[0]


def _random(architecture: Architecture, parts: Sequence[str]) -> dict[str, SimMim]:
    models = {part: SimMim(architecture) for part in parts}
    for part, model in models.items():
        weights.seeded(model, PARTS.index(part))
    return models
