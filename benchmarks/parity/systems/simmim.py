"""SimMIM's transformer: fine-tuned and pre-training networks, their files, names and layers."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.parity.rows import Kind, Row, Tensors, compare, exact, tensors, weights_of
from extract.networks import simmim, weights

FOLDER = "human-anomaly"
_DECAY = 0.65


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    return _KINDS.get(path.stem) if path.parent.name == FOLDER else None


@torch.no_grad()
def _vit_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    del described
    golden, state = tensors(path), weights_of(path)
    model, _ = simmim.from_state(state)
    found = {**_steps(model, golden["x"]), "patch_embed": model.patch_embed(golden["x"])}
    norm, first = (model.get_submodule(f"blocks.0.{part}") for part in ("norm1", "attn"))
    found["block0.attn"] = first(norm(found["embed"]))
    small = {name: value * 1e-3 if _shrinks(name) else value for name, value in state.items()}
    shrunk, _ = simmim.from_state(small)
    found |= {f"eps.{name}": value for name, value in _steps(shrunk, golden["x"]).items()}
    yield from _compared(path, found, golden)


@torch.no_grad()
def _checkpoint_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    del described
    golden = tensors(path)
    model, lacking = simmim.from_state(weights.read_state(path.with_suffix(".pth")))
    yield exact(path.name, "weights that it lacks", len(lacking), 0)
    yield from _compared(path, _steps(model, golden["x"]), golden)


@torch.no_grad()
def _simmim_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, state = tensors(path), weights_of(path)
    found: Tensors = {}
    model, lacking = simmim.from_state(state)
    new = [name for name in described["mapped_same_size"]["missing_keys"] if "index" not in name]
    yield exact(path.name, "weights that it lacks", sorted(lacking) == sorted(new), 1)
    for name in new:
        model.get_parameter(name).copy_(golden[f"finetune80.{name}"])
    steps = _steps(model, golden["x"])
    found |= {f"finetune80.{name}": steps[name] for name in ("block2", "feature", "logits")}
    for size in (48, 112):
        other, _ = simmim.from_state(state, size)
        table = other.get_parameter("blocks.1.attn.relative_position_bias_table")
        found[f"finetune{size}.table"] = table
        if size == 112:
            found["finetune112.block2"] = _steps(other, golden["finetune112.x"])["block2"]
    for size in (192, 256, 384):
        grown = simmim.resized_table(golden["table224"], size // simmim.PATCH)
        found[f"table{size}"] = grown
    found |= _pretraining(model, state, golden)
    yield from _compared(path, found, golden)


def _pretraining(model: simmim.SimMim, state: Mapping[str, Tensor], golden: Tensors) -> Tensors:
    """What the pre-training network makes of a picture of which patches are hidden."""
    mask_bhw, images = golden["mask"], golden["x"]
    hidden = mask_bhw.flatten(1)[..., None].float()
    tokens = model.embed(images)
    tokens[:, 1:] = tokens[:, 1:] * (1 - hidden) + state["encoder.mask_token"] * hidden
    for block in model.blocks:
        tokens = block(tokens)
    weight, bias = (state[f"encoder.norm.{name}"] for name in ("weight", "bias"))
    patches = functional.layer_norm(tokens, (len(weight),), weight, bias, simmim.EPS)[:, 1:]
    z = patches.transpose(1, 2).reshape(len(images), -1, *mask_bhw.shape[1:])
    pixels = functional.conv2d(z, state["decoder.0.weight"], state["decoder.0.bias"])
    drawn = functional.pixel_shuffle(pixels, simmim.PATCH)
    over = functional.interpolate(mask_bhw[:, None].float(), scale_factor=simmim.PATCH)
    loss = ((images - drawn).abs() * over).sum() / (over.sum() + 1e-5) / 3
    return {"encoder.z": z, "reconstruction": drawn, "loss": loss}


def _keys_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    with weights.unfilled():
        model = simmim.SimMim(simmim.B)
    shapes = {name: list(value.shape) for name, value in model.named_parameters()}
    official = {
        name: shape
        for name, shape in described["finetune_vit_base_224"].items()
        if not name.endswith("relative_position_index")
    }
    yield exact(path.name, "names and shapes", shapes == official, 1)
    count = sum(parameter.numel() for parameter in model.parameters())
    yield exact(path.name, "parameters", count, described["finetune_vit_base_224_parameters"])
    layers = simmim.relative_positions(simmim.B.side).shape
    wanted = described["finetune_vit_base_224"]["blocks.0.attn.relative_position_index"]
    yield exact(path.name, "index", list(layers), wanted)


def _optim_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    with weights.unfilled():
        model = simmim.SimMim(simmim.B)
    last = len(model.blocks) + 1
    seen: list[str] = []
    for group in described["groups_depth12"]:
        scales = [_DECAY ** (last - model.layer_of(name)) for name in group["params"]]
        wanted = [group["lr_scale"]] * len(scales)
        largest = max(abs(a - b) for a, b in zip(scales, wanted, strict=True))
        yield exact(path.name, group["group"], largest < 1e-15, 1)
        seen += group["params"]
    names = sorted(name for name, _ in model.named_parameters())
    yield exact(path.name, "every parameter has a group", sorted(seen) == names, 1)


def _steps(model: simmim.SimMim, images: Tensor) -> Tensors:
    tokens = model.embed(images)
    found = {"embed": tokens}
    for number, block in enumerate(model.blocks):
        tokens = block(tokens)
        found[f"block{number}"] = tokens
    feature = model.pooled(tokens)
    logits = model.head(feature)
    return {
        **found, "mean": tokens[:, 1:].mean(1), "feature": feature, "logits": logits,
        "prob": logits.softmax(1),
    }  # fmt: skip


def _compared(path: Path, found: Tensors, golden: Tensors) -> Iterator[Row]:
    for name, ours in found.items():
        if name in golden:
            yield compare(path.name, name, ours, golden[name], _tolerance(name))


def _tolerance(name: str) -> float:
    """As the golden files state it."""
    if name in ("eps.embed", "eps.block2"):
        return 1e-7
    last = name.split(".")[-1]
    if last in ("table", "loss") or last.startswith("table"):
        return 1e-6
    if last == "prob":
        return 3e-6
    return 1e-5 if last in ("mean", "feature", "logits") else 3e-5


def _shrinks(name: str) -> bool:
    return name.startswith(("patch_embed.proj", "cls_token")) or "gamma_" in name


_KINDS: dict[str, Callable[[Path, dict[str, Any]], Iterator[Row]]] = {
    "vit": _vit_rows,
    "ckpt29_tiny": _checkpoint_rows,
    "simmim": _simmim_rows,
    "keys": _keys_rows,
    "optim": _optim_rows,
}
