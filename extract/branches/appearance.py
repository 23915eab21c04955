"""Appearance prior: do the subject and the background stay what they are?

Presets `dinov2-s14`, `dinov2-b14`, `dinov2-l14` (each with `-reg`) and `dino-b16` compare frames by
a network, as VBench's subject consistency does (VBench itself takes DINO ViT-B/16); with
`?clip=PATH` its background consistency by CLIP counts half. See `extract.priors.consistency`.
Preset `colours` needs no weights: histograms of colour stand in for both; see
`extract.priors.colours`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from extract.branch import Branch, BranchRequest
from extract.decoding.job import Output
from extract.errors import BadSetting, BadWeights
from extract.networks import clip, dinov2, weights
from extract.networks.clip import ClipTower
from extract.networks.dinov2 import DinoV2
from extract.priors.colours import DECIDES, MEASURES
from extract.priors.consistency import Towers
from extract.priors.pair_scorer import Method, load_scorer, scorer_outputs
from extract.priors.squares import SIDE
from extract.views.transforms import IMAGENET_MEAN, IMAGENET_STD

REVISION = 1
OPTIONS = ("pairs", "dtype", "clip")
Network = TypeVar("Network", DinoV2, ClipTower)
COLOURS = Method(
    preset="colours",
    function="extract.priors.colours:colour_measures",
    measures=len(MEASURES),
    column=MEASURES.index("inconsistency"),
    worst=0.5,
    decides=DECIDES,
    meaning="inconsistency of colours with the first quarter",
)


class ConsistencyScorer(Branch):
    """Frozen networks on the first frame of each pair and the second of the last.

    `curve` has a number for each pair: how much the next of these frames differs. A video with
    fewer pairs than asked for has frames twice, which differ from the one before in nothing.
    """

    def __init__(self, request: BranchRequest, model: Towers, source: str) -> None:
        self.outputs = scorer_outputs(request)
        (pairs,) = self.outputs["curve"].shape
        self.name = request.name
        self.preset = request.preset
        self.device = torch.device(request.device)
        self.precision = request.computes_in
        self.prepare = Output(
            name="squares", function="extract.priors.squares:squares",
            shape=(pairs + 1, SIDE, SIDE, 3), dtype="uint8", pairs=pairs,
        )  # fmt: skip
        background = model.background
        self.decides = {
            "method": "VBench consistency",
            "subject": asdict(dinov2.PRESETS[request.preset]),
            "background": None if background is None else background.config.described(),
            "weights": weights.content_hash(model.state_dict()),
            "preprocessing": {
                "size": SIDE,
                "resize": "bicubic, antialiased, centre crop",
                "subject": [IMAGENET_MEAN, IMAGENET_STD],
                "background": None if background is None else [clip.MEAN, clip.STD],
            },
            "pairs": pairs,
            "precision": self.precision,
            "revision": REVISION,
        }
        meaning = f"inconsistency of the subject ({request.preset})"
        if background is not None:
            meaning += f" and of the background (CLIP {clip.name_of(background.config)}), the mean"
        self.provenance = {"source": source, "meaning": meaning}
        self.model = model.to(self.device).eval().requires_grad_(requires_grad=False)

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        curve_bp: Tensor = self.model(batch)
        return {"curve": curve_bp.float(), "score": curve_bp.mean(1, keepdim=True).float()}

    def example(self, count: int) -> Tensor:
        shape = (count, *self.prepare.shape)
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)


def load(request: BranchRequest) -> Branch:
    if request.preset == COLOURS.preset:
        return load_scorer(request, COLOURS)
    if request.preset not in dinov2.PRESETS:
        have = ", ".join([COLOURS.preset, *dinov2.PRESETS])
        raise BadSetting(f"Branch {request.name}: preset {request.preset!r} unknown; have: {have}.")
    request.check_options(OPTIONS)
    subject, source = _subject(request)
    if "clip" not in request.options:
        return ConsistencyScorer(request, Towers(subject, None), source)
    background, other = _background(request.options["clip"])
    return ConsistencyScorer(request, Towers(subject, background), f"{source} and {other}")


def _subject(request: BranchRequest) -> tuple[DinoV2, str]:
    """The network and where its numbers are from."""
    preset = request.preset
    if preset == "dinov2-tiny" and request.weights is None:
        return _random(DinoV2(dinov2.PRESETS[preset])), weights.RANDOM
    if request.weights is None:
        raise BadWeights(
            f"{request.name}={preset} needs weights: {request.name}={preset}:PATH, with "
            f"{dinov2.FILES[preset]}. Without weights there is {request.name}={COLOURS.preset}; to "
            f"try things out {request.name}=dinov2-tiny, whose numbers are random and mean nothing."
        )
    state = weights.read_state(request.weights)
    return dinov2.from_state(state, dinov2.PRESETS[preset], preset), request.weights.name


def _background(asked: str) -> tuple[ClipTower, str]:
    if asked == "tiny":
        return _random(ClipTower(clip.PRESETS["tiny"])), weights.RANDOM
    path = Path(asked).expanduser()
    return clip.from_state(weights.read_state(path)), path.name


def _random(model: Network) -> Network:
    weights.seeded(nn.ModuleList([model]), seed=3)
    return model
