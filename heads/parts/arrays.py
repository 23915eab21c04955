"""Feature arrays by name, as matrices and safetensors files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from features_store.commit import write_file
from features_store.table import Table
from heads.errors import BadBundle, BadTable
from heads.parts.present import is_mask, present_key

CLS, AVG, ATTN = "internvideo2/cls", "internvideo2/avg", "internvideo2/attn"
TOKENS = "internvideo2/tokens"
DEPTH = "depthpro/depth"
CHUNK = 256
"""Rows that are scored at a time: few, so that they stay in the processor's cache."""


def widths(table: Table, keys: Sequence[str]) -> dict[str, int]:
    """Key → size of its vectors; arrays that say what is there have none."""
    return {key: int(table.arrays[key].shape[-1]) for key in keys if not is_mask(key)}


def columns(table: Table, keys: Sequence[str]) -> int:
    """Of the matrix that `matrix` makes."""
    return sum(widths(table, keys).values())


def matrix(table: Table, keys: Sequence[str], rows: slice | None = None) -> Tensor:
    """The vectors of every view side by side, in float32: (n, V, columns). Where a view has
    several, of its frames say, they are averaged; where a branch's `present` is among the keys,
    those that are there."""
    rows = rows or slice(0, len(table))
    sizes = widths(table, keys)
    first = table.arrays[next(iter(sizes))]
    count = len(range(*rows.indices(len(table))))
    out = torch.empty(count, first.shape[1], sum(sizes.values()))
    column = 0
    for key in sizes:
        array = np.asarray(table.arrays[key][rows])
        if array.shape[1] != first.shape[1]:
            raise BadTable(f"{key} has {array.shape[1]} views, {keys[0]} has {first.shape[1]}.")
        part = torch.from_numpy(array)
        if part.ndim > 3:
            mask = present_key(key)
            there = table.arrays[mask][rows] if mask in keys else None
            part = mean_of(part.float(), None if there is None else torch.from_numpy(there))
        out[..., column : column + part.shape[-1]] = part
        column += part.shape[-1]
    return out


def mean_of(vectors_nvfd: Tensor, there_nvf: Tensor | None) -> Tensor:
    """Over everything between views and channels; over the frames that are there."""
    if there_nvf is None:
        return vectors_nvfd.flatten(2, -2).mean(2)
    weight_nvf = there_nvf.to(vectors_nvfd.dtype)
    frames_nvfd = vectors_nvfd.flatten(3, -2).mean(3) if vectors_nvfd.ndim > 4 else vectors_nvfd
    if weight_nvf.shape != frames_nvfd.shape[:3]:
        raise BadTable(
            f"An array of {list(frames_nvfd.shape[1:])} a video has other frames than its "
            f"`present` of {list(weight_nvf.shape[1:])}; leave that out."
        )
    total = (frames_nvfd * weight_nvf[..., None]).sum(2)
    return total / weight_nvf.sum(2, keepdim=True).clamp_min(1)


def softmax_numpy(logits: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = logits.float().softmax(-1).cpu().numpy()
    return found


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_file(path, [save(whole)])


def load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load(path.read_bytes())
    except FileNotFoundError as error:
        raise BadBundle(f"{path} is missing; the bundle is not complete.") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise BadBundle(f"{path} cannot be read as safetensors: {error}") from error


def filled(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into place; another name or shape is refused."""
    for name in sorted({*found, *wanted}):
        there = tuple(found[name].shape) if name in found else None
        want = tuple(wanted[name].shape) if name in wanted else None
        if there != want:
            raise BadBundle(f"{path}: {name} is {there}, must be {want}.")
        if not math.isfinite(float(found[name].float().abs().sum())):
            raise BadBundle(f"{path}: {name} holds numbers that are not finite.")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])
