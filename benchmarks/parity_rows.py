"""One compared quantity, and how it is compared."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

EXACT = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity of one golden file."""

    file: str
    quantity: str
    largest_absolute: float
    largest_relative: float
    tolerance: float
    """Absolute; for gradients, of the relative L2 norm."""
    ok: bool


def compare(file: str, quantity: str, ours: Tensor, theirs: Tensor, tolerance: float) -> Row:
    if ours.shape != theirs.shape:
        ours = torch.full_like(theirs, torch.nan, dtype=torch.float64)
    difference = (ours.double() - theirs.double()).abs()
    absolute = float(difference.max())
    scale = float(theirs.double().abs().max())
    return Row(
        file=file, quantity=quantity, largest_absolute=absolute,
        largest_relative=absolute / scale if scale else absolute, tolerance=tolerance,
        ok=absolute <= tolerance,
    )  # fmt: skip


def exact(file: str, quantity: str, ours: object, theirs: object) -> Row:
    difference = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
    return Row(
        file=file, quantity=quantity, largest_absolute=difference, largest_relative=difference,
        tolerance=EXACT, ok=difference == 0,
    )  # fmt: skip
