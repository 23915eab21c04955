"""What training does to its samples: mixing pairs of them, and dropping features."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.training.config import Epoch

_GOLDEN, _FACTORS = -0x61C8864F, (0x7FEB352D, -0x7B935975)


@dataclass(frozen=True, slots=True)
class Mixing:
    """Mixup of one batch."""

    partners: Tensor
    share: float

    @staticmethod
    def of(order: Epoch, part: slice, device: torch.device) -> "Mixing | None":
        if order.partners is None or order.shares is None:
            return None
        partners = torch.from_numpy(order.partners[part] - part.start).to(device)
        return Mixing(partners, float(order.shares[part.start]))

    def mixed(self, x: Tensor) -> Tensor:
        return torch.lerp(x[self.partners], x, self.share)


def kept_features(
    seeds: Tensor, first: Tensor | int, shape: Sequence[int], share: Tensor | float
) -> Tensor:
    """Dropout's factors, (…, rows, columns) for seeds (…): 0 for a share of them, 1 / (1 - share)
    for the rest. `first`: the first row's number, one for all or (…). Which ones follows from
    (seed, row, column) alone, by a hash in 32-bit integers, so that every device and every order
    drop the same."""
    share = torch.as_tensor(share, device=seeds.device, dtype=torch.float32)
    bound = (share.double() * 2**32 - 2**31).floor().to(torch.int32)
    return (_hashed(seeds, first, shape[-2], shape[-1]) >= bound) / (1 - share)


def _hashed(seeds: Tensor, first: Tensor | int, rows: int, columns: int) -> Tensor:
    """Whole numbers over all of int32 for each (seed, row, column)."""
    begin = torch.as_tensor(first, device=seeds.device, dtype=torch.int32)[..., None, None]
    row = begin + torch.arange(rows, device=seeds.device, dtype=torch.int32)[:, None]
    column = torch.arange(columns, device=seeds.device, dtype=torch.int32)
    mixed = (row * columns + column) + (seeds.to(torch.int32) * _GOLDEN)[..., None, None]
    for factor in _FACTORS:
        mixed = (mixed ^ ((mixed >> 16) & 0xFFFF)) * factor
    return mixed ^ ((mixed >> 16) & 0xFFFF)
