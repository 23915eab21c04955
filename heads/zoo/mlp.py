"""Pooled vectors through layers that learn in steps: for strategies that need hidden ones.

Every column is standardised by the training videos. With `layers=0` it is the function that the
linear head is, learnt by gradient descent instead of solved, so that a strategy can be tried on it.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from features_store.table import Table
from heads.errors import BadBundle, BadSetting, BadTable
from heads.head import (
    FitReport,
    OnEpoch,
    Probabilities,
    check_labels,
    check_scores,
    check_table,
)
from heads.parts import arrays
from heads.parts.arrays import CHUNK
from heads.parts.fusion_net import dropped
from heads.parts.pooled import PooledHead, Standard
from heads.parts.space import OneOf, Range, Space
from heads.training.config import TrainConfig
from heads.training.loop import parameters_to_train, train_model
from heads.training.model import Batch, Model, Samples, Stage
from heads.training.threads import one_thread

_SLOPE = 0.01
_BUFFERS = ("mean", "scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpConfig(TrainConfig):
    """The layers, and how they are trained."""

    depth: bool = True
    """Use the depth branch too."""
    arrays: str = ""
    """Names of arrays, with commas between them, to use instead: clip-b32/x,depthpro/depth."""
    layers: int = 2
    """Hidden layers; 0: none, which is the function of the linear head."""
    hidden: int = 256
    """Numbers in each of them."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if not 0 <= self.layers <= 8 or self.hidden < 1:
            raise BadSetting(
                f"layers={self.layers}, hidden={self.hidden}: give 0 to 8 layers of 1 or more."
            )


class MlpModel(Model):
    """The layers' tensors."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self._layers = sum(name.endswith(".weight") for name in tensors)

    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        learning = [tensor for tensor in self.tensors.values() if tensor.requires_grad]
        return [t for t in learning if t.ndim > 1], [t for t in learning if t.ndim <= 1]

    def state(self) -> dict[str, Tensor]:
        return self.tensors

    def stages(self, batch: Batch) -> Sequence[Stage]:
        return [partial(self._seen, batch.keep), *(partial(self._layer, n) for n in self._numbers)]

    def classifier(self) -> tuple[Tensor, Tensor]:
        last = f"layer{self._layers - 1}"
        return self.tensors[f"{last}.weight"], self.tensors[f"{last}.bias"]

    def training_logits(self, batch: Batch) -> Tensor:
        found = batch.x
        for stage in self.stages(batch):
            found = stage(found)
        return found

    @torch.no_grad()
    def view_probabilities(self, samples: Samples) -> Probabilities:
        return arrays.softmax_numpy(self.logits(samples.x))

    def logits(self, x: Tensor) -> Tensor:
        """(…, columns) → (…, classes), as in evaluation."""
        found = self._seen(None, x)
        for number in self._numbers:
            found = self._layer(number, found)
        return found

    @property
    def _numbers(self) -> range:
        return range(self._layers)

    def _seen(self, keep: Tensor | None, x: Tensor) -> Tensor:
        standard = (x - self.tensors["mean"]) * self.tensors["scale"]
        return dropped(standard, keep, slice(None))

    def _layer(self, number: int, x: Tensor) -> Tensor:
        weight, bias = (self.tensors[f"layer{number}.{name}"] for name in ("weight", "bias"))
        found = functional.linear(x, weight, bias)
        return found if number == self._layers - 1 else functional.leaky_relu(found, _SLOPE)


def initial(sizes: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
    """Layers of these sizes, drawn as torch's own are, behind columns that are left as they are."""
    tensors = {"mean": torch.zeros(sizes[0]), "scale": torch.ones(sizes[0])}
    for number, (inwards, outwards) in enumerate(itertools.pairwise(sizes)):
        bound = 1 / math.sqrt(inwards)
        for name, shape in (("weight", (outwards, inwards)), ("bias", (outwards,))):
            drawn = torch.empty(shape).uniform_(-bound, bound, generator=generator)
            tensors[f"layer{number}.{name}"] = drawn
    return tensors


class Mlp(PooledHead):
    """See the module."""

    name = "mlp"
    Config = MlpConfig
    SPACE: ClassVar[Space] = {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "weight_decay": Range(low=1e-3, high=0.5, log=True),
        "smoothing": Range(low=0.0, high=0.3),
        "dropout": Range(low=0.0, high=0.5),
        "layers": OneOf(("0", "1", "2")),
        "rank_loss": OneOf(("true", "false")),
    }
    learns_on_one_thread = True
    config: MlpConfig
    model: MlpModel | None = None

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        learn = self._samples(train, device, "training")
        judge = self._samples(validation, device, "validation")
        tensors = initial(self._sizes(learn.x.shape[-1]), torch.Generator().manual_seed(seed))
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        tensors |= Standard.of(learn.x).tensors()
        parameters_to_train(tensors, _BUFFERS)
        self.model = MlpModel(tensors)
        return train_model(self.model, self.config, learn, judge, seed=seed, on_epoch=on_epoch)

    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored", numbers=False)
        model = self._trained()
        known = len(model.tensors["mean"])
        if arrays.columns(table, self.keys) != known:
            raise BadTable(
                f"Features have {arrays.columns(table, self.keys)} columns, the head knows {known}."
            )
        tensors = {name: tensor.detach().cpu() for name, tensor in model.tensors.items()}
        here = MlpModel(tensors)
        with one_thread():
            parts = [
                here.logits(arrays.matrix(table, self.keys, slice(start, start + CHUNK)))
                for start in range(0, len(table), CHUNK)
            ]
        found = arrays.softmax_numpy(torch.cat(parts))
        check_scores(table, self.keys, found)
        return found

    def save(self, folder: Path) -> None:
        arrays.save_tensors(folder / "head.safetensors", self._trained().tensors)

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        if "mean" not in found:
            raise BadBundle(f"{path} is no mlp head.")
        wanted = initial(self._sizes(len(found["mean"])), torch.Generator())
        arrays.filled(found, wanted, path)
        self.model = MlpModel(wanted)

    def _samples(self, table: Table, device: str, what: str) -> Samples:
        check_table(table, self.keys, what)
        check_labels(table, what, several=what == "training")
        return Samples.of(
            arrays.matrix(table, self.keys).to(device), table,
            rank_loss=self.config.rank_loss and what == "training",
            within_class=self.config.rank_within_class,
        )  # fmt: skip

    def _sizes(self, columns: int) -> list[int]:
        return [columns, *[self.config.hidden] * self.config.layers, len(self.classes)]

    def _trained(self) -> MlpModel:
        if self.model is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        return self.model


HEAD = Mlp
