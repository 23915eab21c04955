"""The fusion head's convex twin: multinomial logistic regression on the same vectors.

Every column is standardised by the training videos; there is one optimum, and L-BFGS finds it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from features_store.table import Table
from heads.errors import BadSetting
from heads.head import FitReport, OnEpoch, Probabilities, check_labels, check_table
from heads.parts import arrays
from heads.parts.arrays import CHUNK
from heads.parts.drawn_back import Trained, adapted
from heads.parts.pooled import PooledHead, Standard, timed_report
from heads.parts.present import marked, seen
from heads.parts.space import OneOf, Range, Space
from heads.training.losses import table_weights

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearConfig:
    """What there is to set."""

    c: float = 0.01
    """Inverse strength of the L2 penalty; a video's views count as one video."""
    depth: bool = True
    """Use the depth branch too."""
    arrays: str = ""
    """Names of arrays, with commas between them, to use instead: clip-b32/x,depthpro/depth.
    With a branch's `present` among them, frames that are not there are left out of its means."""
    root: bool = False
    """Take square roots first, signs kept: what a network counts up has a long tail."""
    least_frames: int = 1
    """With fewer frames than this (`present` says which are there) there is no verdict."""
    rank_loss: bool = True
    """Weigh each sample by log(e + rank)."""
    rank_within_class: bool = False
    """Divide those weights by their mean in the class."""
    iterations: int = 1000

    def __post_init__(self) -> None:
        if not self.c > 0 or self.iterations < 1 or self.least_frames < 1:
            raise BadSetting(
                f"c={self.c:g}, iterations={self.iterations}, least_frames={self.least_frames}: "
                f"give more than 0."
            )


class Linear(PooledHead):
    """See the module."""

    name = "linear"
    Config = LinearConfig
    SPACE: ClassVar[Space] = {
        "c": Range(low=1e-5, high=10.0, log=True),
        "depth": OneOf(("true", "false")),
        "rank_loss": OneOf(("true", "false")),
    }
    config: LinearConfig
    _standard: Standard | None = None
    _weight: torch.Tensor
    _bias: torch.Tensor
    _start: "Linear | None" = None

    def begin_at(self, other: "Linear") -> None:
        """Learn how to change a trained head, instead of from nothing: its standardisation stays,
        and the penalty is on what its weights and biases are changed by."""
        self._start = other

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        with timed_report(self, validation) as report:
            check_table(train, self.keys, "training")
            check_labels(train, "training")
            train = seen(train, self.keys, self.config.least_frames)
            x = self._rooted(arrays.matrix(train, self.keys))
            views = x.shape[1]
            start = self._start
            self._standard = Standard.of(x) if start is None else start._standard
            assert self._standard is not None
            weights = table_weights(
                train, rank_loss=self.config.rank_loss,
                within_class=self.config.rank_within_class,
            ).numpy() / views  # fmt: skip
            flat = self._standard(x).flatten(0, 1)
            labels, weights = np.repeat(train.labels, views), np.repeat(weights, views)
            if start is None:
                from sklearn.linear_model import LogisticRegression  # a second to import

                model = LogisticRegression(
                    C=self.config.c, max_iter=self.config.iterations, tol=1e-5
                )
                model.fit(flat.numpy(), labels, sample_weight=weights)
                self._weight, self._bias = self._all_classes(model)
            else:
                began = Trained(weight=start._weight, bias=start._bias)
                targets = torch.from_numpy(labels.astype(np.int64))
                found = adapted(began, flat, targets, torch.from_numpy(weights), self.config.c)
                self._weight, self._bias = found.weight, found.bias
        return report()

    def begin_with(self, standard: Standard, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """What was learnt elsewhere: rows of the classes on standardised columns."""
        self._standard, self._weight, self._bias = standard, weight, bias

    @property
    def learnt(self) -> tuple[Standard, torch.Tensor, torch.Tensor]:
        """The same, of a trained head."""
        if self._standard is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        return self._standard, self._weight, self._bias

    def _rooted(self, x: torch.Tensor) -> torch.Tensor:
        return x.sign() * x.abs().sqrt() if self.config.root else x

    def _all_classes(self, model: "LogisticRegression") -> tuple[torch.Tensor, torch.Tensor]:
        """Rows for every class of the scheme; a class without videos is never predicted."""
        coefficients, intercepts = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        weight = torch.zeros(len(self.classes), coefficients.shape[1])
        bias = torch.full((len(self.classes),), -30.0)
        weight[model.classes_.astype(int)] = torch.from_numpy(coefficients).float()
        bias[model.classes_.astype(int)] = torch.from_numpy(intercepts).float()
        return weight, bias

    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored")
        standard, weight, bias = self.learnt
        parts = []
        for start in range(0, len(table), CHUNK):
            x = arrays.matrix(table, self.keys, slice(start, start + CHUNK))
            parts.append(standard(self._rooted(x)) @ weight.T + bias)
        found = arrays.softmax_numpy(torch.cat(parts))
        return marked(table, self.keys, found, self.config.least_frames)

    def save(self, folder: Path) -> None:
        standard, weight, bias = self.learnt
        tensors = {**standard.tensors(), "weight": weight, "bias": bias}
        arrays.save_tensors(folder / "head.safetensors", tensors)

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        columns = found["mean"].shape[0] if "mean" in found else 0
        wanted = {
            "mean": torch.zeros(columns), "scale": torch.ones(columns),
            "weight": torch.zeros(len(self.classes), columns),
            "bias": torch.zeros(len(self.classes)),
        }  # fmt: skip
        arrays.filled(found, wanted, path)
        self._standard = Standard(mean=wanted["mean"], scale=wanted["scale"])
        self._weight, self._bias = wanted["weight"], wanted["bias"]


HEAD = Linear
