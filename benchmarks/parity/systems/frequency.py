"""F3Net: cosine transforms, bands, local energies, and what mixes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.parity.rows import Kind, Row, Tensors, compare, tensors, weights_of
from extract.networks import weights
from extract.networks.f3net import Mix
from extract.networks.frequency import BandEnergies, BandPictures, dct
from extract.networks.weights import State

_MATRIX, _BANDS, _MIXED, _TRAINED = 1e-7, 2e-5, 1e-5, 5e-5
_MOST, _WORST = 1e-3, 0.2
"""Logarithms of what is zero but for rounding differ: 99.5 % are within the first, all within the
second."""


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    return _rows if path.stem == "f3net" and "fad48" in described else None


def _rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    del described
    golden, state = tensors(path), weights_of(path)
    for name in sorted(key for key in golden if key.startswith("dct.")):
        ours = dct(int(name.removeprefix("dct.")))
        yield compare(path.name, name, ours, golden[name], _MATRIX)
    bands = BandPictures(golden["img48"].shape[1])
    found = _learnt(bands, state, "fad48.")(_pixels(golden["img48"]))
    yield compare(path.name, "fad48.out", found, golden["fad48.out"], _BANDS)
    yield from _energies(path, golden, _learnt(BandEnergies(), state, "lfs."))
    mix = Mix(golden["mix.fad"].shape[1])
    weights.fill(mix, _part(state, "mix."), model="F3Net's MixBlock")
    for name, tolerance in (("eval", _MIXED), ("train", _TRAINED)):
        both = mix.train(name == "train")(golden["mix.fad"], golden["mix.lfs"])
        for view, ours in zip(("fad", "lfs"), both, strict=True):
            quantity = f"mix.{name}_{view}"
            yield compare(path.name, quantity, ours, golden[quantity], tolerance)


def _energies(path: Path, golden: Tensors, network: torch.nn.Module) -> Iterator[Row]:
    """Whole, or every third place of every third row."""
    with torch.no_grad():
        ours = network(_pixels(golden["img299"]))
    name = "lfs.out" if "lfs.out" in golden else "lfs.out_every_3rd"
    if name != "lfs.out":
        ours = ours[..., ::3, ::3]
    apart = (ours - golden[name]).abs().flatten()
    nearest = apart.sort().values[: int(0.995 * len(apart))]
    zeros = torch.zeros_like(nearest)
    yield compare(path.name, f"{name}, 99.5 %", nearest, zeros, _MOST)
    yield compare(path.name, name, ours, golden[name], _WORST)


def _learnt(network: torch.nn.Module, state: State, prefix: str) -> torch.nn.Module:
    """With the golden filters; what does not learn is its own."""
    weights.fill(network, {**network.state_dict(), **_part(state, prefix)}, model="F3Net")
    return network


def _part(state: State, prefix: str) -> State:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _pixels(images_bhwc: Tensor) -> Tensor:
    return (images_bhwc.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
