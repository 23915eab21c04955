"""A linear layer for each part of a person, on the vectors of its crops.

Every crop of a video learns the video's label. A part that no training video has, or of one side
alone, is never abnormal. Legend: m crops, d channels, k parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.errors import BadBundle, BadTable
from heads.parts.pooled import Standard

PARTS = ("person", "face", "hand")
_NAMES = ("mean", "scale", "weight", "bias")
_NEVER = -30.0
"""A bias that no score comes back from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One layer."""

    standard: Standard
    weight: Tensor
    bias: Tensor

    def scores(self, vectors: Tensor) -> Tensor:
        return (self.standard(vectors) @ self.weight + self.bias).sigmoid()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartProbes:
    """One for each of PARTS."""

    probes: Mapping[str, Probe]

    @staticmethod
    def learnt(
        vectors: NDArray[np.generic],
        there: NDArray[np.bool_],
        abnormal: NDArray[np.bool_],
        c: float,
    ) -> "PartProbes":
        """Vectors (n, …, k, d) of n videos, which of them there are (n, …, k), which videos are
        abnormal (n)."""
        whole = torch.from_numpy(np.asarray(vectors))
        probes = {}
        for place, part in enumerate(PARTS):
            mask = there[..., place]
            owner = np.nonzero(mask)[0]
            x = whole[..., place, :][torch.from_numpy(mask)].float()
            probes[part] = _learnt(x, owner, abnormal, c)
        if all(bool((probe.bias <= _NEVER).all()) for probe in probes.values()):
            raise BadTable(
                "No part of a person is in both real and generated training videos; find boxes in "
                "them first, see `telltale people --help`."
            )
        return PartProbes(probes=probes)

    def scores(self, vectors: NDArray[np.generic]) -> NDArray[np.float32]:
        """(n, …, k, d) → (n, …, k)"""
        whole = torch.from_numpy(np.asarray(vectors)).float()
        found = [self.probes[part].scores(whole[..., k, :]) for k, part in enumerate(PARTS)]
        return np.asarray(torch.stack(found, -1).numpy(), np.float32)

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{part}.{name}": numbers
            for part, probe in self.probes.items()
            for name, numbers in (
                *probe.standard.tensors().items(), ("weight", probe.weight), ("bias", probe.bias),
            )
        }  # fmt: skip

    @staticmethod
    def restored(found: Mapping[str, Tensor], path: Path) -> "PartProbes":
        wanted = {f"{part}.{name}" for part in PARTS for name in _NAMES}
        if set(found) != wanted:
            raise BadBundle(f"{path} has no trained layers of {', '.join(PARTS)}.")
        probes = {}
        for part in PARTS:
            mean, scale, weight, bias = (found[f"{part}.{name}"] for name in _NAMES)
            probes[part] = Probe(
                standard=Standard(mean=mean, scale=scale), weight=weight, bias=bias
            )
        return PartProbes(probes=probes)


def _learnt(
    x_md: Tensor, owner_m: NDArray[np.intp], abnormal: NDArray[np.bool_], c: float
) -> Probe:
    target = abnormal[owner_m]
    if len(np.unique(target)) < 2:
        width = x_md.shape[-1]
        still = Standard(mean=torch.zeros(width), scale=torch.ones(width))
        return Probe(standard=still, weight=torch.zeros(width), bias=torch.tensor([_NEVER]))
    from sklearn.linear_model import LogisticRegression  # a second to import

    standard = Standard.of(x_md)
    counts = np.bincount(owner_m, minlength=len(abnormal))
    model = LogisticRegression(C=c, max_iter=1000, tol=1e-5)
    model.fit(standard(x_md).numpy(), target, sample_weight=1 / counts[owner_m])
    return Probe(
        standard=standard,
        weight=torch.from_numpy(model.coef_[0]).float(),
        bias=torch.from_numpy(model.intercept_).float(),
    )
