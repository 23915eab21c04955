"""One compared quantity, and how it is compared."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
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
    difference = (ours.detach().double() - theirs.double()).abs()
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


Kind = Callable[[Path, dict[str, Any]], Iterator[Row]]
"""How one kind of golden file is recomputed: (its json, what that says) → rows."""
Tensors = dict[str, Tensor]


def tensors(path: Path) -> Tensors:
    """Inputs and expected outputs beside a json file."""
    return load_file(path.with_suffix(".safetensors"))


def weights_of(path: Path) -> Tensors:
    return load_file(path.with_name(f"{path.stem}_weights.safetensors"))


def declared(
    path: Path, described: Mapping[str, Any], found: Mapping[str, Tensor], golden: Tensors
) -> Iterator[Row]:
    """Each of ours against the golden tensor of its name, within the tolerance the json gives."""
    for name, ours in found.items():
        tolerance = described["gaps"].get(name, {}).get("tolerance_abs", EXACT)
        yield compare(path.name, name, ours.detach(), golden[name], tolerance)


def gradients(loss: Tensor, leaves: Mapping[str, Tensor]) -> Tensors:
    """`grad.NAME` of every leaf that the loss depends on."""
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    named = zip(leaves, found, strict=True)
    return {f"grad.{name}": gradient for name, gradient in named if gradient is not None}
