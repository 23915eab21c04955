"""Detectors that judge single frames: CNNDetection, NPR and PatchCraft."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.parity.rows import (
    EXACT,
    Kind,
    Row,
    Tensors,
    compare,
    declared,
    exact,
    gradients,
    tensors,
    weights_of,
)
from extract.networks import npr, weights
from extract.networks.frame_network import CLS, LOGIT, FrameNetwork
from extract.networks.npr import Npr
from extract.networks.patchcraft import PatchCraft, RichFilter
from extract.networks.resnet import ResNet, ResNetConfig
from extract.views import patches
from extract.views.looks import LOOKS, looked
from extract.views.training_damage import blur_in_bytes, jpeg_by_opencv, jpeg_by_pillow

_JPEG = 4
_NPR, _CNNDET = 1437761, 23510081
"""How many parameters the released networks have: by that their files are known."""


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del path
    kinds = {_NPR: _npr_rows, _CNNDET: _cnndet_rows}
    kind = kinds.get(described.get("official_parameters", 0))
    items = {
        "npr_map": _map_rows,
        "augment": _augment_rows,
        "srm_filters": _kernel_rows,
        "smash_reconstruct": _smash_rows,
    }
    kind = kind or items.get(str(described.get("item")))
    if kind is None and "group1.hpf.weight" in described.get("weights", {}):
        return _patchcraft_rows
    note = str(described.get("note"))
    return _tile_rows if kind is None and "translate and duplicate" in note else kind


def _filled(path: Path, network: FrameNetwork) -> FrameNetwork:
    weights.fill(network, weights_of(path), model=path.stem)
    return network.eval()


def _judged(network: FrameNetwork, golden: Tensors, inputs: str) -> Tensors:
    with torch.no_grad():
        found = network(golden[inputs].flatten(0, -4))
    return {
        "pooled": found[CLS], "logit": found[LOGIT], "prob": found[LOGIT].sigmoid().flatten()
    }  # fmt: skip


def _cnndet_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    width = len(weights_of(path)["bn1.weight"])
    network = _filled(path, ResNet(ResNetConfig(width=width)))
    yield from declared(path, described, _judged(network, golden, "images"), golden)


def _augment_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """Blur exactly; JPEG of another library's version may be some levels off."""
    del described
    golden = tensors(path)
    frame = golden["img"].numpy()
    by = {"cv2": jpeg_by_opencv, "pil": jpeg_by_pillow}
    for name in sorted(golden):
        seen, steps = frame, re.findall(r"(blur|jpeg_cv2|jpeg_pil)_([0-9.]+)", name)
        for what, amount in steps:
            if what == "blur":
                seen = blur_in_bytes(seen, float(amount))
            else:
                seen = by[what.removeprefix("jpeg_")](seen, int(amount))
        if steps:
            tolerance = _JPEG if "jpeg" in name else EXACT
            yield compare(path.name, name, torch.from_numpy(seen), golden[name], tolerance)
    name = "img_big.resize256_center224"
    ours = torch.from_numpy(looked(golden["img_big"].numpy(), LOOKS["cnndet-256"]).copy())
    yield compare(path.name, name, ours, golden[name], EXACT)


def _npr_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    network = _filled(path, Npr(len(weights_of(path)["bn1.weight"])))
    found = _judged(network, golden, "frames")
    videos = found["logit"].reshape(*golden["frames"].shape[:2], 1)
    found["demamba_video_logit"] = videos.mean(1)
    network.train()
    logit = network(golden["frames"].flatten(0, 1))[LOGIT]
    loss = functional.binary_cross_entropy_with_logits(logit.flatten(), golden["labels"])
    learnt = gradients(loss, dict(network.named_parameters()))
    found |= {"train.logit": logit, "train.loss": loss}
    found |= {f"train.{name}": value for name, value in learnt.items()}
    found |= {f"train.after.{name}": value for name, value in network.named_buffers()}
    kept = {name: value for name, value in found.items() if name in golden}
    yield from declared(path, described, kept, golden)


def _patchcraft_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    pictures = golden["poor_rich"].transpose(1, 2).flatten(2, 3)
    network = _filled(path, PatchCraft())
    found = _judged(network, {"pictures": pictures}, "pictures")
    yield from declared(path, described, found, golden)


def _kernel_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, rich = tensors(path), RichFilter()
    found = {"kernels": rich.hpf.weight[:, 0]}
    if "response" in golden:
        found["response"] = rich(golden["x"])
    yield from declared(path, described, found, golden)


def _smash_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, seed = tensors(path), described["seed"]
    for name in sorted(key.removesuffix(".crops_top_left") for key in golden if "crops" in key):
        frame = golden[name].numpy()
        if f"{name}.squashed" in golden:
            frame = patches.squashed(frame)
            yield exact(path.name, f"{name}.squashed", frame, golden[f"{name}.squashed"])
        drawn = patches.corners(frame.shape[0], frame.shape[1], described["crops"], seed)
        yield exact(path.name, f"{name}.crops_top_left", drawn, golden[f"{name}.crops_top_left"])
        if f"{name}.diversity" not in golden:
            continue
        texture = patches.texture(patches.cut_out(frame, drawn))
        order = np.argsort(texture, kind="stable")
        yield exact(path.name, f"{name}.ascending_order", order, golden[f"{name}.ascending_order"])
        found = {f"{name}.diversity": torch.from_numpy(texture / 255)}
        yield from declared(path, described, found, golden)
        both = golden[f"{name}.poor_rich_uint8"].flatten(0, 1)
        grid = described["loadSize"] // described["patch"]
        yield exact(path.name, f"{name}.poor_rich", patches.smashed(frame, seed, grid), both)


def _map_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    names = [name.removeprefix("x_") for name in golden if name.startswith("x_")]
    found = {f"npr_{name}": npr.residual(golden[f"x_{name}"]) for name in names}
    yield from declared(path, described, found, golden)


def _tile_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """Pictures that are smaller than the crop; an odd start is the reference's own."""
    del described
    golden = tensors(path)
    look = replace(LOOKS["npr"], crop="even")
    for name in sorted(golden):
        if name.endswith(".tiled_center224"):
            frame = golden[name.removesuffix(".tiled_center224")].numpy()
            ours = torch.from_numpy(looked(frame, look).copy())
            yield compare(path.name, name, ours, golden[name], EXACT)
