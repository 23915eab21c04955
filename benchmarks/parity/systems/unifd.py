"""UniFD: CLIP's projected class token and one linear layer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.parity.rows import Kind, Row, declared, tensors, weights_of
from extract.networks import clip, weights
from extract.networks.clip import ClipConfig, ClipTower


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del path
    return _probe_rows if described.get("item") == "clip_probe" else None


@torch.no_grad()
def _probe_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, state, size = tensors(path), weights_of(path), described["config"]
    tower = ClipTower(
        ClipConfig(
            width=size["width"], depth=size["layers"], heads=size["heads"], patch=size["patch"],
            out=size["projection"], image=size["image"],
        )
    )  # fmt: skip
    named = clip.tower_names(weights.without_prefix(state, ("model.",)))
    weights.fill(tower, named, model="CLIP's tower")
    cls = tower.tokens(golden["images"])[:, 0]
    feature = tower(golden["images"])
    logit = functional.linear(feature, state["fc.weight"], state["fc.bias"])
    found = {
        "cls_before_ln_post": cls,
        "cls_after_ln_post": tower.ln_post(cls),
        "feature": feature,
        "logit": logit,
        "prob": logit.sigmoid().flatten(),
    }
    yield from declared(path, described, found, golden)
