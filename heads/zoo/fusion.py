"""HumanSAM's fusion head, with every switch of the paper's ablation.

`vector=avg+attn` is the paper's equation 3 to the letter; the released code takes cls as well. The
paper's rows: `vector=attn depth=false rank_loss=false`, `vector=cat …`, `depth=true …`,
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
from heads.parts.folded import ByArray, Folding
from heads.parts.fusion_net import (
    NOT_DECAYED,
    AlphaMode,
    BatchStatistics,
    Layout,
    initial,
    logits,
    misordered,
    plain_norm,
)
from heads.parts.space import OneOf, Range, Space
from heads.parts.training_means import means_of, start_statistics
from heads.training.config import TrainConfig
from heads.training.loop import parameters_to_train, train_model
from heads.training.model import Batch, Model, Samples
from heads.training.threads import one_thread

_VIDEO = {"cat": (CLS, AVG, ATTN), "avg+attn": (AVG, ATTN), "attn": (ATTN,)}
_MEANS = "training.means"


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionConfig(TrainConfig):
    """The fusion head's switches, and how it is trained."""

    vector: Literal["cat", "avg+attn", "attn"] = "cat"
    """The video vector: cls, avg and attn (as released), avg and attn (the paper), attn alone."""
    depth: bool = True
    """Fuse with the depth branch."""
    alpha: AlphaMode | None = None
    """sigmoid: kept in [0, 1], as the paper says; free: as released; fixed: stays as it began;
    none: sigmoid, or free with official."""
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
        plain = self.strategy == "plain" and not self.mixup
        if self.official and (self.repeat < 2 or not plain or not self.depth):
            raise BadSetting(
                "official=true needs depth, repeat=2 or more, and no mixup and no strategy."
            )

    @property
    def alpha_mode(self) -> AlphaMode:
        return self.alpha or ("free" if self.official else "sigmoid")


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
        return logits(self.tensors, batch.x, self.layout, self._statistics, depth, batch.keep)

    @torch.no_grad()
    def view_probabilities(self, samples: Samples) -> Probabilities:
        return arrays.softmax_numpy(logits(self.tensors, samples.x, self.layout))


def pooled_of(config: FusionConfig) -> int:
    """How many vectors down_norm is for; 2 where there is none."""
    return 1 if config.vector == "avg+attn" else 2


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
        "alpha": OneOf(("sigmoid", "fixed")),
        "batch": OneOf(("32", "64", "128")),
    }
    learns_on_one_thread = True
    config: FusionConfig

    def __init__(self, config: FusionConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        self.model: FusionModel | None = None
        self.means: Tensor | None = None
        """(columns) of the training videos: what explanations are measured against."""
        self._folding = Folding()

    @property
    def keys(self) -> tuple[str, ...]:
        return (*_VIDEO[self.config.vector], *((DEPTH,) if self.config.depth else ()))

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
        if not self.config.official:
            start_statistics(self.model.tensors, learn.x, self.model.layout)
        report = train_model(self.model, self.config, learn, judge, seed=seed, on_epoch=on_epoch)
        self.means = means_of(learn.x, self.model.layout)
        return report

    def new_model(self, table: Table, seed: int, device: str = "cpu") -> FusionModel:
        """Untrained, for a table's sizes."""
        check_table(table, self.keys, "training")
        tensors = initial(
            self._layout(table), len(self.classes), torch.Generator().manual_seed(seed)
        )
        start = self.config.alpha_start
        if self.config.alpha_mode == "sigmoid":
            start = float(np.log(start / (1 - start)))
        tensors["alpha"].fill_(start)
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        frozen = ("alpha",) if self.config.alpha_mode == "fixed" or not self.config.depth else ()
        parameters_to_train(tensors, frozen)
        return FusionModel(self.config, self._layout(table), tensors)

    def samples(self, table: Table, device: str, *, judge: bool = False) -> Samples:
        """A table on the device, checked."""
        what = "validation" if judge else "training"
        check_table(table, self.keys, what)
        check_labels(table, what, several=not judge)
        rank_loss = self.config.rank_loss and not judge
        return Samples.of(
            arrays.matrix(table, self.keys).to(device), table, rank_loss=rank_loss,
            within_class=self.config.rank_within_class,
        )  # fmt: skip

    @torch.no_grad()
    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored", numbers=False)
        if arrays.columns(table, self.keys) != self._trained().layout.columns:
            raise BadTable(
                f"Features have {arrays.columns(table, self.keys)} columns, the head knows "
                f"{self._trained().layout.columns}."
            )
        score = self._scorer(table)
        with one_thread():
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
        """What each array adds to the logits against the training videos' mean, and `bias`, what
        that mean has; each against the mean of all classes, which changes no probability. They add
        up. So a constant that is added to a feature, or to all classes, is credited to nothing."""
        parts = {key: part(rows) for key, part in self._parts(table).items()}
        for key, mean in self._mean_parts(table).items():
            parts[key] = parts[key] - mean
            parts["bias"] = parts["bias"] + mean
        return {key: part - part.mean(-1, keepdim=True) for key, part in parts.items()}

    def _mean_parts(self, table: Table) -> dict[str, Tensor]:
        """What the training videos' mean vector adds; nothing where it is not known, as in bundles
        of early versions and of released checkpoints."""
        if self.means is None:
            return {}
        weights = self._folded(table).weights
        sizes = arrays.widths(table, self.keys)
        means = dict(zip(sizes, torch.split(self.means.cpu(), list(sizes.values())), strict=True))
        if DEPTH in means:
            means[DEPTH] = means[DEPTH].repeat(table.arrays[DEPTH].shape[2])
        return {key: weights[key] @ mean for key, mean in means.items()}

    def _folded(self, table: Table) -> ByArray:
        model = self._trained()
        frames = table.arrays[DEPTH].shape[2] if DEPTH in self.keys else 0
        return self._folding.of(model.tensors, model.layout, self.keys, frames)

    def _parts(self, table: Table) -> dict[str, Callable[[slice], Tensor]]:
        folded = self._folded(table)

        def part(key: str, rows: slice) -> Tensor:
            vectors = torch.from_numpy(table.arrays[key][rows]).float().flatten(2)
            vectors = plain_norm(vectors) if key == ATTN else vectors
            return torch.nn.functional.linear(vectors, folded.weights[key])

        found: dict[str, Callable[[slice], Tensor]] = {key: partial(part, key) for key in self.keys}
        return {**found, "bias": lambda _: folded.bias}

    def save(self, folder: Path) -> None:
        tensors = dict(self._trained().tensors)
        if self.means is not None:
            tensors[_MEANS] = self.means
        arrays.save_tensors(folder / "head.safetensors", tensors)

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        self.means = found.pop(_MEANS, None)
        try:
            hidden, video = found["fc1.weight"].shape
            attn = len(found["fc_norm.weight"])
        except (KeyError, ValueError) as error:
            raise BadBundle(f"{path} is no fusion head ({error}).") from error
        layout = self._sized((video - attn) // pooled_of(self.config), attn, hidden)
        wanted = initial(layout, len(self.classes), torch.Generator())
        arrays.filled(found, wanted, path)
        self.model = FusionModel(self.config, layout, wanted)

    def _trained(self) -> FusionModel:
        if self.model is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        return self.model

    def _layout(self, table: Table) -> Layout:
        sizes = arrays.widths(table, self.keys)
        width = sizes.get(AVG, 0)
        return self._sized(width, sizes[ATTN], sizes.get(DEPTH, self.config.hidden))

    def _sized(self, width: int, attn: int, hidden: int) -> Layout:
        return Layout(
            width=width, attn=attn, depth=hidden if self.config.depth else 0, hidden=hidden,
            down_norm=self.config.down_norm, alpha=self.config.alpha_mode,
            pooled=pooled_of(self.config),
        )  # fmt: skip


HEAD = Fusion
