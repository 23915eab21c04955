"""GenConViT: both networks, and how faces are fed to them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.parity.rows import Kind, Row, compare, declared, tensors, weights_of
from extract.networks import weights
from extract.networks.convnext import ConvNextConfig
from extract.networks.frame_network import LOGIT
from extract.networks.genconvit import Autoencoded, Sampled
from extract.networks.weights import State
from extract.views.looks import LOOKS, looked

_LEVEL = 1
"""Another OpenCV may be a level off."""


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    kinds = {"ed": _autoencoded_rows, "vae": _sampled_rows, "face_crop": _face_rows}
    return kinds.get(str(described.get("item"))) if path.parent.name == "genconvit" else None


def _config(state: State, backbone: str) -> ConvNextConfig:
    """Of the small network in a golden file."""
    blocks = [name.split(".") for name in state if name.startswith(f"{backbone}.stages.")]
    stages = sorted({int(parts[2]) for parts in blocks})
    counts = [{parts[4] for parts in blocks if parts[2:4] == [str(n), "blocks"]} for n in stages]
    return ConvNextConfig(
        depths=tuple(map(len, counts)),
        widths=tuple(len(state[f"{backbone}.stages.{n}.blocks.0.gamma"]) for n in stages),
        patch=state[f"{backbone}.stem.0.weight"].shape[-1],
        classes=len(state[f"{backbone}.head.fc.bias"]),
    )


@torch.no_grad()
def _autoencoded_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """A file without the autoencoder's weights says what the rest makes of its result."""
    golden, state = tensors(path), weights_of(path)
    network = Autoencoded(_config(state, "backbone")).eval()
    whole = "encoder.features.0.weight" in state
    own = {k: v for k, v in network.state_dict().items() if k.startswith(("encoder", "decoder"))}
    weights.fill(network, state if whole else {**state, **own}, model="GenConViT's ed")
    images, decoded = golden["images"], golden["decoded"]
    if whole:
        decoded = network.decoder(network.encoder(images))
        yield from declared(path, described, {"decoded": decoded}, golden)
    found = {
        "backbone_of_decoded": network.backbone(decoded),
        "backbone_of_image": network.backbone(images),
        "logits": network.judged(images, decoded)[LOGIT],
    }
    yield from declared(path, described, found, golden)


@torch.no_grad()
def _sampled_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, state = tensors(path), weights_of(path)
    images = golden["images"]
    network = Sampled(_config(state, "convnext_backbone"), images.shape[-1]).eval()
    weights.fill(network, state, model="GenConViT's vae")
    codes = network.encoder.scattered(images, golden["noise"])
    decoded = network.decoded(codes)
    found = {
        "mu": network.encoder.scattered(images, torch.zeros_like(golden["noise"])),
        "z": codes, "decoded": decoded, "logits": network.judged(images, decoded)[LOGIT],
        "backbone_of_image": network.convnext_backbone(images),
    }  # fmt: skip
    yield from declared(path, described, found, golden)


def _face_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    del described
    golden = tensors(path)
    frame = golden["frame"].numpy()
    for number, box in enumerate(golden["boxes_top_right_bottom_left"].tolist()):
        if number < len(golden["faces"]):
            top, right, bottom, left = box
            ours = looked(np.ascontiguousarray(frame[top:bottom, left:right]), LOOKS["genconvit"])
            theirs = golden["faces"][number]
            quantity = f"faces.{number}"
            yield compare(path.name, quantity, torch.from_numpy(ours.copy()), theirs, _LEVEL)
