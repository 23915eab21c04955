"""What is random in a step of fine-tuning: drop path, dropout, mixing. It follows from (seed, step)
and the place in the batch, so that a resumed run and several processes draw the same.

Legend: b samples, d columns.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.finetuning.mixing import Mix
from heads.training.augment import kept_features


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """Factors for the samples of one part of a batch; none: as in evaluation."""

    keep: Tensor | None = None
    """(paths, 2, b): of what residual blocks add."""
    drop: Tensor | None = None
    """(b, d): of the readout's columns."""
    mix: Mix | None = None

    def share(self, places: NDArray[np.int64], device: str) -> "Chance":
        """Of these samples of the batch."""
        chosen = torch.from_numpy(places)
        return Chance(
            keep=None if self.keep is None else self.keep[:, :, chosen].to(device),
            drop=None if self.drop is None else self.drop[chosen].to(device),
            mix=None if self.mix is None else self.mix.within(places),
        )


def drop_path_factors(rate: float, blocks: int, samples: int, seed: tuple[int, ...]) -> Tensor:
    """0 where a sample skips, 1 / (1 - rate) elsewhere; the rate grows from 0 to the last block."""
    rates = torch.linspace(0, rate, blocks)[:, None, None]
    drawn = torch.from_numpy(np.random.default_rng(seed).random((blocks, 2, samples)))
    return (drawn >= rates).float() / (1 - rates)


def dropout_factors(rate: float, samples: int, columns: int, seed: tuple[int, ...]) -> Tensor:
    """0 for a share of the columns, other ones for each sample, and 1 / (1 - rate) elsewhere."""
    number = int(np.random.default_rng((*seed, 1)).integers(2**31))
    return kept_features(torch.tensor(number), 0, (samples, columns), rate)
