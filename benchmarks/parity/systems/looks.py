"""What detectors feed their encoders: D3, DeMamba, UniFD."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.parity.rows import EXACT, Kind, Row, compare, tensors
from extract.views.looks import LOOKS, Look, looked

_LEVEL = 1
"""Another OpenCV may be a level off."""


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    if path.stem == "d3_preprocess":
        return _d3_rows
    if described.get("item") != "preprocess":
        return None
    outputs = described.get("outputs", {})
    if any(name.endswith(".youku.resized") for name in outputs):
        return _demamba_rows
    return _unifd_rows if any(name.endswith(".crop224") for name in outputs) else None


def _d3_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, tolerance = tensors(path), described["tolerance_abs"]
    for name in sorted(name.removesuffix(".bgr") for name in golden if name.endswith(".bgr")):
        frames = golden[f"{name}.bgr"].numpy()[..., ::-1]
        ours = torch.stack([_normal(frame, LOOKS["d3"]) for frame in frames])
        expected = golden[f"{name}.out"]
        yield compare(path.name, f"{name}.out", ours[:, :, ::7, ::7], expected, tolerance)
        mean = golden[f"{name}.mean"]
        yield compare(path.name, f"{name}.mean", ours.mean((2, 3)), mean, tolerance)


def _demamba_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    for name in described["inputs"]:
        frame = golden[name].numpy()
        ours = torch.from_numpy(looked(frame, LOOKS["demamba"]).copy())
        quantity = f"{name}.val.resized"
        yield compare(path.name, quantity, ours, golden[quantity], _LEVEL)
        quantity = f"{name}.val.normalised"
        if quantity in golden:
            normal = _normal(frame, LOOKS["demamba"])
            tolerance = described["gaps"][quantity]["tolerance_abs"]
            yield compare(path.name, quantity, normal, golden[quantity], tolerance)


def _unifd_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    for name in described["inputs"]:
        frame = golden[name].numpy()
        ours = torch.from_numpy(looked(frame, LOOKS["unifd"]).copy())
        yield compare(path.name, f"{name}.crop224", ours, golden[f"{name}.crop224"], EXACT)
        quantity = f"{name}.normalised"
        if quantity in golden:
            normal = _normal(frame, LOOKS["unifd"])
            tolerance = described["gaps"][quantity]["tolerance_abs"]
            yield compare(path.name, quantity, normal, golden[quantity], tolerance)


def _normal(frame: NDArray[np.uint8], look: Look) -> Tensor:
    pixels = torch.from_numpy(looked(frame, look).copy()).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(x)[:, None, None] for x in (look.mean, look.std))
    return (pixels - mean) / std
