"""A branch of the tests': a small network of spatial and temporal kernels, with batch norms and a
logit of its own. `tests/test_heads/cube.py=tiny[:WEIGHTS]`.

Legend: b rows, t frames, h height, w width, c colour.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.branch import Branch, BranchRequest
from extract.decoding.job import CLIPS
from extract.networks import weights
from extract.trainable import Kind, OwnHead, Trainable
from features_store.schema import ArraySpec

WIDTH = 6


class Cube(nn.Module):
    """A stem that is both, then space, then time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, WIDTH, (3, 3, 3), (1, 2, 2), 1, bias=False)
        self.stem_bn = nn.BatchNorm3d(WIDTH)
        self.space = nn.Conv3d(WIDTH, WIDTH, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.space_bn = nn.BatchNorm3d(WIDTH)
        self.time = nn.Conv3d(WIDTH, WIDTH, (3, 1, 1), (2, 1, 1), (1, 0, 0), bias=False)
        self.time_bn = nn.BatchNorm3d(WIDTH)
        self.projection = nn.Linear(WIDTH, 1)

    def forward(self, x_bcthw: Tensor) -> Tensor:
        for name in ("stem", "space", "time"):
            norm = self.get_submodule(f"{name}_bn")
            x_bcthw = functional.relu(norm(self.get_submodule(name)(x_bcthw)))
        return x_bcthw.mean((2, 3, 4))


class CubeTraining(Trainable):
    """Three layers, one for each convolution."""

    layers = 3
    pooled = ("pooled",)
    own_head = OwnHead(vector="pooled", weight="projection.weight", bias="projection.bias")

    def __init__(self, model: Cube) -> None:
        self.model: Cube = model

    def layer_of(self, name: str) -> int:
        return {"stem": 0, "space": 1}.get(name.partition(".")[0].removesuffix("_bn"), 2)

    def kind_of(self, name: str) -> Kind:
        kinds: dict[str, Kind] = {"space.weight": "spatial", "time.weight": "temporal"}
        return kinds.get(name, "both")

    def enter(self, rows: Tensor, layer: int) -> Tensor:
        assert layer == 0
        small = functional.avg_pool3d(rows.permute(0, 4, 1, 2, 3).float(), (1, 16, 16))
        return small / 255 - 0.5

    def vectors(self, x: Tensor, layer: int, keep: Tensor | None = None) -> dict[str, Tensor]:
        assert layer == 0
        assert keep is None
        return {"pooled": self.model(x)}


class CubeBranch(Branch):
    """Its vector, and its logit of being forged."""

    name = "cube"
    preset = "tiny"

    def __init__(self, request: BranchRequest, model: Cube) -> None:
        self.device, self.precision = torch.device(request.device), request.computes_in
        self.outputs = {
            "pooled": ArraySpec(shape=(WIDTH,), dtype="float32"),
            "logit": ArraySpec(shape=(1,), dtype="float32"),
        }
        self.prepare = CLIPS
        self.decides = {"weights": weights.content_hash(model.state_dict()), "revision": 1}
        self.provenance = {"source": "the tests"}
        self.model = model.to(self.device).eval().requires_grad_(requires_grad=False)

    def trainable(self) -> CubeTraining:
        return CubeTraining(self.model)

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        network = self.trainable()
        pooled = network.vectors(network.enter(batch, 0), 0)["pooled"]
        return {"pooled": pooled, "logit": self.model.projection(pooled)}

    def example(self, count: int) -> Tensor:
        return torch.randint(0, 256, (count, *CLIPS.shape), dtype=torch.uint8)


def load(request: BranchRequest) -> CubeBranch:
    model = Cube()
    if request.weights is not None:
        weights.fill(model, weights.read_state(request.weights), model="cube")
    else:
        weights.seeded(model, seed=4)
        for norm in (model.stem_bn, model.space_bn, model.time_bn):
            nn.init.ones_(norm.weight)
    return CubeBranch(request, model)
