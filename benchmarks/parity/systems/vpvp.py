"""V-PVP: the readout of patch tokens' velocity."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.nn import functional

from benchmarks.parity.rows import Kind, Row, compare, gradients, tensors, weights_of
from extract.networks import weights
from heads.parts.velocity import VelocityReadout, magnitude


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    return _head_rows if path.stem == "vpvp_head" else None


def _head_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, state = tensors(path), weights_of(path)
    channels, width = state["conv.weight"].shape[0], state["proj_z.weight"].shape[1]
    net = VelocityReadout(width, channels, len(state["agg.mlp.0.bias"]), len(state["fc.bias"]))
    weights.fill(net, state, model="a V-PVP head")
    logit = net(golden["z"]).squeeze(-1)
    loss = functional.binary_cross_entropy_with_logits(logit, golden["label"].float())
    context, change = net.context(golden["z"]), magnitude(golden["z"])
    found = {
        "context": context,
        "magnitude": change,
        "hidden": net.hidden(context, change),
        "logit": logit,
        **gradients(loss, dict(net.named_parameters())),
    }
    for name, ours in found.items():
        yield compare(path.name, name, ours, golden[name], described["tolerance_abs"])
