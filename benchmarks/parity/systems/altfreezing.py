"""AltFreezing: the 3D ResNet, its groups of parameters, faces, windows and scores."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.parity.rows import Kind, Row, declared, exact, tensors, weights_of
from extract.networks import resnet3d, weights
from extract.networks.resnet3d import ResNet3d


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    if path.parent.name != "altfreezing":
        return None
    known = {"grouping": _groups, "i3d_tiny": _network}
    del described
    return known.get(path.stem)


@torch.no_grad()
def _network(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    model = resnet3d.from_state(weights_of(path), **described["config"])
    stages = model.stages(golden["x"])
    logit = model(golden["x"])
    found = {
        "eval.s4": stages["s4"],
        "eval.s5": stages["s5"],
        "eval.pooled": model.vectors(golden["x"])[:, 0],
        "eval.logit": logit,
        "eval.prob": logit.sigmoid(),
        "eval_long.logit": model(golden["x_long"]),
    }
    yield from declared(path, described, found, golden)


def _groups(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    with weights.unfilled():
        model = ResNet3d()
    ours = [[name, list(tensor.shape)] for name, tensor in model.state_dict().items()]
    theirs = described["state_dict_keys_in_order"]
    differ = abs(len(ours) - len(theirs)) + sum(a != b for a, b in zip(ours, theirs, strict=False))
    yield exact(path.name, "names and shapes in order that differ", differ, 0)
    kinds = [model.kind_of(name) for name, *_ in described["rows"]]
    wrong = sum(kind != row[2] for kind, row in zip(kinds, described["rows"], strict=True))
    yield exact(path.name, "groups that differ", wrong, 0)
