"""ReStraV's classifier: three linear layers on 21 numbers of a path; its logit says *real*.

The authors publish `model.pt` with `mean.npy` and `std.npy` beside it; the same in one safetensors
file is read too.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from extract.networks import weights
from extract.networks.paths import FEATURES
from heads.errors import BadSetting

LR = 1e-3
_TINY = 1e-8


class StraightMlp(nn.Module):
    """Standardised features → one logit, that of `real`; parameters have the released names."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("std", torch.ones(FEATURES))

    @staticmethod
    def of(state: Mapping[str, Tensor]) -> "StraightMlp":
        """With these tensors; `std` as it divides."""
        mlp = StraightMlp()
        flat = {k: v.flatten() if k in ("mean", "std") else v for k, v in state.items()}
        weights.fill(mlp, flat, model="ReStraV's classifier")
        return mlp

    @staticmethod
    def read(path: Path) -> "StraightMlp":
        """From the authors' file, or one file of all tensors."""
        state = weights.read_state(path)
        for name in ("mean", "std"):
            if name not in state:
                state[name] = _numbers(path.with_name(f"{name}.npy"))
                state[name] += _TINY if name == "std" else 0
        return StraightMlp.of(state)

    def forward(self, features: Tensor) -> Tensor:
        logit: Tensor = self.net(self.normalised(features))
        return logit.squeeze(-1)

    def normalised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std

    def standardise(self, features: Tensor) -> None:
        """Take the features' own mean and spread."""
        self.mean.copy_(features.mean(0))
        self.std.copy_(features.std(0, correction=0) + _TINY)

    def loss(self, features: Tensor, real: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(self(features), real)

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=LR)


def balanced(real_n: NDArray[np.bool_], seed: int) -> NDArray[np.intp]:
    """As many of one kind as of the other, drawn and mixed as its authors do it."""
    random = np.random.default_rng(seed)
    kinds = [np.flatnonzero(real_n), np.flatnonzero(~real_n)]
    fewest = min(len(kind) for kind in kinds)
    rows = np.concatenate([random.choice(kind, fewest, replace=False) for kind in kinds])
    return random.permutation(rows)


def _numbers(path: Path) -> Tensor:
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False)).float()
    except (OSError, ValueError) as error:
        raise BadSetting(
            f"{path} cannot be read ({error}). ReStraV's model.pt needs mean.npy and std.npy "
            f"beside it."
        ) from error
