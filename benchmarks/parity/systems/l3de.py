"""L3DE, the later form of the Sora study: its network, and flow and depth as pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.parity.rows import Kind, Row, Tensors, compare, tensors, weights_of
from extract.networks import weights
from extract.networks.pictures import depth_picture, flow_picture
from heads.parts.experts import Joint, Stream, strides

_LAYERS = {
    "streams.appearance": (1,),
    "streams.motion": (4, 5, 6, 7),
    "streams.geometry": (10, 11, 12, 13),
    "fusion": (3, 8, 9),
}
"""Numbers of the released convolutions."""


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    kinds: dict[str, Kind] = {"l3de_net": _net_rows, "l3de_inputs": _input_rows}
    return kinds.get(path.stem)


def _input_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, tolerance = tensors(path), described["tolerance_abs"]
    for name, make in (("flow", flow_picture), ("depth", depth_picture)):
        expected = golden[f"{name}_norm"]
        yield compare(path.name, f"{name}_norm", make(golden[name]), expected, tolerance)


@torch.no_grad()
def _net_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, tolerance = tensors(path), described["tolerance_abs"]
    grids = {
        "appearance": golden["appearance"],
        "motion": _magnified(golden["flow_u8"]),
        "geometry": _magnified(golden["depth_u8"]),
    }
    net = _net(weights_of(path), grids)
    for name, grid in grids.items():
        ours = net.streams[name](grid)
        yield compare(path.name, f"stream.{name}", ours, golden[f"stream.{name}"], tolerance)
    yield compare(path.name, "feature", net.feature(grids), golden["feature"], tolerance)
    yield compare(path.name, "p_real", net(grids).sigmoid(), golden["p_real"], tolerance)


def _net(state: Tensors, grids: Tensors) -> Joint:
    named = dict(state)
    for part, numbers in _LAYERS.items():
        for layer, number in enumerate(numbers):
            for what in ("weight", "bias"):
                named[f"{part}.layers.{layer}.{what}"] = named.pop(f"conv{number}.{what}")
    width = {k: len(state[f"conv{k}.bias"]) for numbers in _LAYERS.values() for k in numbers}
    streams = {
        name: Stream(
            grid.shape[1], [width[k] for k in _LAYERS[f"streams.{name}"]], strides(*grid.shape[3:])
        )
        for name, grid in grids.items()
    }
    net = Joint(
        streams, [width[k] for k in _LAYERS["fusion"]], grids["motion"].shape[2],
        len(state["fc1.bias"]), len(state["fc2.bias"]),
    )  # fmt: skip
    weights.fill(net, named, model="L3DE")
    return net


def _magnified(picture: Tensor) -> Tensor:
    """Every pixel eight times in height and width."""
    return picture.repeat_interleave(8, -1).repeat_interleave(8, -2).float() / 255
