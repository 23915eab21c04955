"""Cosine nearest neighbours among the training videos, as UniFD has it: nothing is learnt.

A class's probability is the share of the neighbours' similarity that falls on it. Neighbours are
videos: of each one's views the most similar counts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from features_store.table import Table
from heads.errors import BadSetting
from heads.head import FitReport, OnEpoch, Probabilities, check_labels, check_table
from heads.parts import arrays
from heads.parts.arrays import CHUNK
from heads.parts.pooled import PooledHead, Standard, timed_report
from heads.parts.present import marked, seen
from heads.parts.space import OneOf, Range, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnConfig:
    """What there is to set."""

    neighbours: int = 9
    temperature: float = 0.07
    """Neighbours are weighted by exp(similarity / temperature)."""
    depth: bool = True
    """Use the depth branch too."""
    arrays: str = ""
    """Names of arrays, with commas between them, to use instead: clip-b32/x,depthpro/depth.
    With a branch's `present` among them, frames that are not there are left out of its means."""
    floor: float = 0.001
    """Probability that a class without a neighbour keeps."""

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not self.temperature > 0 or not 0 <= self.floor < 0.1:
            raise BadSetting(
                f"neighbours={self.neighbours}, temperature={self.temperature:g}, "
                f"floor={self.floor:g}: give 1 or more, more than 0, and 0 to 0.1."
            )


class Knn(PooledHead):
    """See the module."""

    name = "knn"
    Config = KnnConfig
    SPACE: ClassVar[Space] = {
        "neighbours": Range(low=1, high=50, log=True, whole=True),
        "temperature": Range(low=0.01, high=1.0, log=True),
        "depth": OneOf(("true", "false")),
    }
    config: KnnConfig
    _standard: Standard | None = None
    _known: Tensor
    """(videos, views, columns)"""
    _labels: Tensor

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
            train = seen(train, self.keys)
            x = arrays.matrix(train, self.keys)
            self._standard = Standard.of(x)
            self._known = self._directions(x)
            self._labels = torch.from_numpy(train.labels.astype(np.int64))
        return report()

    def _directions(self, x: Tensor) -> Tensor:
        assert self._standard is not None
        return torch.nn.functional.normalize(self._standard(x), dim=-1)

    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored")
        if self._standard is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        parts = []
        for start in range(0, len(table), CHUNK):
            x = self._directions(arrays.matrix(table, self.keys, slice(start, start + CHUNK)))
            parts.append(torch.stack([self._shares(view) for view in x.unbind(1)], 1))
        return marked(table, self.keys, torch.cat(parts).numpy())

    def _shares(self, x: Tensor) -> Tensor:
        videos, views, _ = self._known.shape
        every = x @ self._known.flatten(0, 1).T
        similar = every.reshape(*x.shape[:-1], videos, views).amax(-1)
        near, index = similar.topk(min(self.config.neighbours, len(self._known)), -1)
        weight = (near / self.config.temperature).softmax(-1)
        shares = torch.zeros(*x.shape[:-1], len(self.classes))
        shares.scatter_add_(-1, self._labels[index], weight)
        return (shares + self.config.floor) / (1 + self.config.floor * len(self.classes))

    def save(self, folder: Path) -> None:
        if self._standard is None:
            raise BadSetting("This head is not trained yet; there is nothing to save.")
        tensors = {**self._standard.tensors(), "known": self._known, "labels": self._labels}
        arrays.save_tensors(folder / "head.safetensors", tensors)

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        if found.get("known", torch.zeros(0)).ndim == 2:  # until version 0.1 views were neighbours
            found["known"] = found["known"][:, None]
        rows, views, columns = found["known"].shape if "known" in found else (0, 0, 0)
        wanted = {
            "mean": torch.zeros(columns), "scale": torch.ones(columns),
            "known": torch.zeros(rows, views, columns),
            "labels": torch.zeros(rows, dtype=torch.int64),
        }  # fmt: skip
        arrays.filled(found, wanted, path)
        self._standard = Standard(mean=wanted["mean"], scale=wanted["scale"])
        self._known, self._labels = wanted["known"], wanted["labels"]


HEAD = Knn
