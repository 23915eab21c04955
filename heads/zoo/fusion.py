"""HumanSAM's fusion head, with every switch of the paper's ablation.

The paper's rows: `vector=attn depth=false rank_loss=false`, `vector=cat …`, `depth=true …`,
`rank_loss=true`. `official=true` trains as the released code does: alpha decays, and with
`repeat=2` most samples are fused with another video's depth, as the released code pairs them
(row k of the batch is given the depth of video k mod B).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from features_store.table import Table
from heads.errors import BadBundle, BadSetting, BadTable
from heads.head import (
    FitReport,
    Head,
    OnEpoch,
    Probabilities,
    check_labels,
    check_scores,
    check_table,
)
from heads.parts import arrays
from heads.parts.arrays import ATTN, AVG, CHUNK, CLS, DEPTH
from heads.parts.fusion_net import (
    NOT_DECAYED,
    AlphaMode,
    BatchStatistics,
    Layout,
    fold,
    initial,
    logits,
    plain_norm,
)
from heads.parts.space import OneOf, Range, Space
from heads.training.config import TrainConfig
from heads.training.loop import Batch, Model, Samples, parameters_to_train, train_model


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionConfig(TrainConfig):
    """The fusion head's switches, and how it is trained."""

    vector: Literal["cat", "attn"] = "cat"
    """The video vector: cls, avg and attn, or attn alone."""
    depth: bool = True
    """Fuse with the depth branch."""
    alpha: AlphaMode = "free"
    """free: as released; sigmoid: kept in [0, 1], as the paper says; fixed: stays as it began."""
    alpha_start: float = 0.5
    down_norm: Literal["bn", "ln", "none"] = "bn"
    """How cls and avg are normalised."""
    hidden: int = 1024
    """What fc1 makes, without depth; with it, fc1 makes vectors of the depth vectors' size."""
    official: bool = False
    """Train as the released code does, its misordered depth included; needs repeat of 2 or more."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if not 0 < self.alpha_start < 1:
            raise BadSetting(f"alpha_start={self.alpha_start:g}: give more than 0, less than 1.")
        if self.hidden < 1:
            raise BadSetting(f"hidden={self.hidden}: give 1 or more.")
        if self.official and (self.repeat < 2 or self.mixup or not self.depth):
            raise BadSetting("official=true needs depth, repeat=2 or more, and no mixup.")


class FusionModel(Model):
    """The head's tensors and how they are trained."""

    def __init__(self, config: FusionConfig, layout: Layout, tensors: dict[str, Tensor]) -> None:
        self.config = config
        self.layout = layout
        self.tensors = tensors
        self._statistics = BatchStatistics(tensors)

    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        kept = ("bias", "fc_norm.weight") if self.config.official else NOT_DECAYED
        learning = {n: t for n, t in self.tensors.items() if t.requires_grad}
        decayed = [t for n, t in learning.items() if not n.endswith(kept)]
        return decayed, [t for n, t in learning.items() if n.endswith(kept)]

    def state(self) -> dict[str, Tensor]:
        return self.tensors

    def training_logits(self, batch: Batch) -> Tensor:
        depth = None
        if self.config.official:
            depth = misordered(batch.x[..., self.layout.video :], self.config.repeat)
        return logits(self.tensors, batch.x, self.layout, self._statistics, depth)

    @torch.no_grad()
    def view_probabilities(self, samples: Samples) -> Probabilities:
        return arrays.softmax_numpy(logits(self.tensors, samples.x, self.layout))


def misordered(depth: Tensor, repeat: int) -> Tensor:
    """The released pairing: samples lie video by video, depth sample by sample."""
    videos = len(depth) // repeat
    position = torch.arange(len(depth), device=depth.device)
    return depth[position % videos * repeat + position // videos]


class Fusion(Head):
    """See the module."""

    name = "fusion"
    Config = FusionConfig
    SPACE: ClassVar[Space] = {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "weight_decay": Range(low=1e-3, high=0.5, log=True),
        "smoothing": Range(low=0.0, high=0.3),
        "dropout": Range(low=0.0, high=0.5),
        "mixup": OneOf(("0.0", "0.2", "0.4")),
        "rank_loss": OneOf(("true", "false")),
        "alpha": OneOf(("free", "sigmoid")),
        "batch": OneOf(("32", "64", "128")),
    }
    config: FusionConfig

    def __init__(self, config: FusionConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        self.model: FusionModel | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        video = (CLS, AVG, ATTN) if self.config.vector == "cat" else (ATTN,)
        return (*video, DEPTH) if self.config.depth else video

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        self.model = self.new_model(train, seed, device)
        learn = self.samples(train, device)
        judge = self.samples(validation, device, judge=True)
        return train_model(self.model, self.config, learn, judge, seed=seed, on_epoch=on_epoch)

    def new_model(self, table: Table, seed: int, device: str = "cpu") -> FusionModel:
        """Untrained, for a table's sizes."""
        check_table(table, self.keys, "training")
        tensors = initial(
            self._layout(table), len(self.classes), torch.Generator().manual_seed(seed)
        )
        start = self.config.alpha_start
        if self.config.alpha == "sigmoid":
            start = float(np.log(start / (1 - start)))
        tensors["alpha"].fill_(start)
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        frozen = ("alpha",) if self.config.alpha == "fixed" or not self.config.depth else ()
        parameters_to_train(tensors, frozen)
        return FusionModel(self.config, self._layout(table), tensors)

    def samples(self, table: Table, device: str, *, judge: bool = False) -> Samples:
        """A table on the device, checked."""
        what = "validation" if judge else "training"
        check_table(table, self.keys, what)
        check_labels(table, what, several=not judge)
        rank_loss = self.config.rank_loss and not judge
        return Samples.of(arrays.matrix(table, self.keys).to(device), table, rank_loss=rank_loss)

    @torch.no_grad()
    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored", numbers=False)
        if arrays.columns(table, self.keys) != self._trained().layout.columns:
            raise BadTable(
                f"Features have {arrays.columns(table, self.keys)} columns, the head knows "
                f"{self._trained().layout.columns}."
            )
        score = self._scorer(table)
        parts = [score(slice(start, start + CHUNK)) for start in range(0, len(table), CHUNK)]
        found = arrays.softmax_numpy(torch.cat(parts))
        check_scores(table, self.keys, found)
        return found

    def _scorer(self, table: Table) -> Callable[[slice], Tensor]:
        """Rows → logits (rows, V, C), by the folded head where that is exact: array by array, so
        that no matrix of all features is ever put together."""
        model = self._trained()
        if model.layout.down_norm == "ln" and model.layout.width:
            tensors = {name: tensor.detach().cpu() for name, tensor in model.tensors.items()}
            return lambda rows: logits(tensors, arrays.matrix(table, self.keys, rows), model.layout)
        parts = self._parts(table)
        return lambda rows: sum((part(rows) for part in parts.values()), torch.zeros(()))

    @torch.no_grad()
    def contributions(self, table: Table, rows: slice) -> dict[str, Tensor]:
        """What each array adds to the logits, and `bias`; they add up exactly."""
        return {key: part(rows) for key, part in self._parts(table).items()}

    def _parts(self, table: Table) -> dict[str, Callable[[slice], Tensor]]:
        model = self._trained()
        tensors = {name: tensor.detach().cpu() for name, tensor in model.tensors.items()}
        folded = fold(tensors, model.layout)
        weights = {}
        for columns, weight in folded.parts:
            if columns.start == model.layout.video:
                frames = table.arrays[DEPTH].shape[2]
                weights[DEPTH] = torch.cat([weight / frames] * frames)
            else:
                weights[CLS], weights[AVG] = weight.chunk(2)
        weights[ATTN] = folded.attn_weight

        def part(key: str, rows: slice) -> Tensor:
            vectors = torch.from_numpy(table.arrays[key][rows]).float().flatten(2)
            return (plain_norm(vectors) if key == ATTN else vectors) @ weights[key]

        found: dict[str, Callable[[slice], Tensor]] = {key: partial(part, key) for key in self.keys}
        return {**found, "bias": lambda _: folded.bias}

    def save(self, folder: Path) -> None:
        arrays.save_tensors(folder / "head.safetensors", self._trained().tensors)

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        try:
            hidden, video = found["fc1.weight"].shape
            attn = len(found["fc_norm.weight"])
        except (KeyError, ValueError) as error:
            raise BadBundle(f"{path} is no fusion head ({error}).") from error
        layout = self._sized((video - attn) // 2, attn, hidden)
        wanted = initial(layout, len(self.classes), torch.Generator())
        arrays.filled(found, wanted, path)
        self.model = FusionModel(self.config, layout, wanted)

    def _trained(self) -> FusionModel:
        if self.model is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        return self.model

    def _layout(self, table: Table) -> Layout:
        sizes = arrays.widths(table, self.keys)
        width = sizes.get(CLS, 0)
        return self._sized(width, sizes[ATTN], sizes.get(DEPTH, self.config.hidden))

    def _sized(self, width: int, attn: int, hidden: int) -> Layout:
        return Layout(
            width=width, attn=attn, depth=hidden if self.config.depth else 0, hidden=hidden,
            down_norm=self.config.down_norm, alpha=self.config.alpha,
        )  # fmt: skip


HEAD = Fusion
