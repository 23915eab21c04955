"""How released codes train: optimisers that take turns, rates, mixed pictures, losses, steps."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from benchmarks.parity.rows import Kind, Row, Tensors, compare, exact, tensors
from extract.networks import resnet3d, simmim, weights
from extract.trainable import Kind as Kernel
from extract.trainable import Trainable
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.layer_decay import BACKBONE, rule
from heads.finetuning.mixing import Mix
from heads.finetuning.optimisers import Optimisers
from heads.training.losses import smoothed_losses

STEP, RATE, MIXED, LOGITS, AFTER = 1e-8, 1e-12, 1e-6, 1e-4, 5e-6
_OFFICIAL = "resnet.head.projection"
_SHAPES = {"image": 32, "frames": 8, "width": 8}
_LOGIT_TWICE = 4
"""The golden network's head is so many times the one in its weights' file."""


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    return _KINDS.get((path.parent.name, path.stem))


class Named(Trainable):
    """A network by the layers and kinds of its parameters; it is not run here."""

    pooled = ()

    def __init__(self, model: resnet3d.ResNet3d | simmim.SimMim) -> None:
        self.model: resnet3d.ResNet3d | simmim.SimMim = model
        self.layers = 1 + max(model.layer_of(name) for name, _ in model.named_parameters())
        self.not_decayed = simmim.NOT_DECAYED

    def layer_of(self, name: str) -> int:
        return self.model.layer_of(name)

    def kind_of(self, name: str) -> Kernel | None:
        model = self.model
        return model.kind_of(name) if isinstance(model, resnet3d.ResNet3d) else None

    def enter(self, rows: Tensor, layer: int) -> Tensor:
        raise NotImplementedError(layer)

    def vectors(self, x: Tensor, layer: int, keep: Tensor | None = None) -> Tensors:
        raise NotImplementedError(layer)


def optimisers_of(model: resnet3d.ResNet3d | simmim.SimMim, config: FinetuneConfig) -> Optimisers:
    """A network's own head counts as the head that fine-tuning puts on."""
    named = {
        f"head.{name}" if name.startswith(("head.", _OFFICIAL)) else f"{BACKBONE}{name}": tensor
        for name, tensor in model.named_parameters()
    }
    return Optimisers(named, Named(model), config, steps_an_epoch=1)


def _altstep_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """In float64; whose step it is follows from the number's parity."""
    golden = tensors(path)
    state = load_file(path.with_name("i3d_tiny_weights.safetensors"))
    model = resnet3d.from_state(state, **_SHAPES).double().train()
    config = FinetuneConfig(
        alternate="spatial:temporal=1:1", optimiser="sgd", momentum=described["momentum"],
        weight_decay=described["weight_decay"], decay_all=True, clip=0, layer_decay=1.0,
        lr=described["lr"], min_lr=1.0, warmup=0.0, epochs=2,
    )  # fmt: skip
    optimisers = optimisers_of(model, config)
    head = model.get_submodule(_OFFICIAL)
    clips, labels = golden["x"].double(), golden["y"].double()
    frozen_moved = 0
    for step, mode in enumerate(described["modes"]):
        logit = head(model.vectors(clips)[:, 0])[:, 0]  # without the head's dropout
        loss = functional.binary_cross_entropy_with_logits(logit, labels)
        yield compare(path.name, f"step{step}.loss", loss, golden[f"step{step}.loss"], STEP)
        yield compare(path.name, f"step{step}.logit", logit, golden[f"step{step}.logit"], STEP)
        loss.backward()  # type: ignore[no-untyped-call]
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        optimisers.step(("spatial", "temporal").index(mode))
        frozen_moved += sum(
            not torch.equal(before[name], p)
            for name, p in model.named_parameters()
            if model.kind_of(name) not in (mode, "both")
        )
        for name, tensor in model.named_parameters():
            if f"step{step}.{name}" in golden:
                key = f"step{step}.{name}"
                yield compare(path.name, key, tensor.detach(), golden[key], STEP)
    yield exact(path.name, "frozen tensors that moved", frozen_moved, 0)


def _groups_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    with weights.unfilled():
        model = simmim.SimMim(simmim.B)
    config, network = FinetuneConfig(layer_decay=described["layer_decay"]), Named(model)
    differ = 0
    for group in described["groups_depth12"]:
        for name in group["params"]:
            own = name if name.startswith("head.") else f"{BACKBONE}{name}"
            found = rule(own, model.get_parameter(name), config, network)
            differ += found.weight_decay != group["weight_decay"]
            differ += not math.isclose(found.lr_scale, group["lr_scale"], rel_tol=RATE)
    yield exact(path.name, "parameters of another rate or decay", differ, 0)
    for number, schedule in enumerate(described["schedules"]):
        base, _, low = schedule["base_warmup_min_lr"]
        timed = FinetuneConfig(
            lr=base, min_lr=low / base, epochs=30, warmup=0.1, schedule="timm"
        )  # fmt: skip
        for layer, used in schedule["lr_used"].items():
            scale = described["layer_decay"] ** (network.layers - 1 - int(layer.split("_")[1]))
            rates = torch.from_numpy(timed.rates_of(schedule["steps_per_epoch"], scale))
            theirs = torch.tensor(used, dtype=torch.float64)
            what = f"schedule {number}, {layer}, as a share"
            yield compare(path.name, what, rates / theirs, torch.ones_like(theirs), RATE)


def _slowfast_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    a_hundredth = 100
    base, start = described["base_lr"], described["warmup_start_lr"]
    config = FinetuneConfig(
        lr=base, min_lr=start / base, epochs=described["max_epoch"],
        warmup=described["warmup_epochs"] / described["max_epoch"], schedule="slowfast",
    )  # fmt: skip
    rates = config.rates_of(a_hundredth, 1.0)
    known = [(epoch, rate) for epoch, rate in described["epoch_lr"] if epoch < config.epochs]
    found = torch.tensor([rates[round(epoch * a_hundredth)] for epoch, _ in known])
    theirs = torch.tensor([rate for _, rate in known], dtype=torch.float64)
    yield compare(path.name, "rates", found.double(), theirs, RATE)


def _train_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    smoothing = described["mixing"]["smoothing"]
    for number, drawn in enumerate(described["mixing"]["draws"]):
        yield from _mixed_rows(path, golden, f"mix{number}", drawn, smoothing)
    logits, labels = golden["loss.logits"], golden["loss.y"].long()
    pair = (logits[:, 1] - logits[:, 0])[:, None]
    one_row = torch.cat([torch.zeros_like(pair), pair], -1)
    found = {
        "loss.label_smoothing": smoothed_losses(logits, labels, smoothing).mean(),
        "loss.cross_entropy": smoothed_losses(logits, labels, 0.0).mean(),
        "loss.identity_bce_of_difference": smoothed_losses(one_row, labels, 0.0).mean(),
    }
    for name, loss in found.items():
        yield compare(path.name, name, loss, golden[name], MIXED)
    yield from _step_rows(path, golden, described["steps"])


def _mixed_rows(
    path: Path, golden: Tensors, what: str, drawn: Mapping[str, Any], smoothing: float
) -> Iterator[Row]:
    pictures, labels = golden[f"{what}.x"], golden[f"{what}.y"].long()
    mix = Mix(
        share=drawn["lam_drawn"], partners=np.arange(len(pictures))[::-1].copy(),
        centre=_centre(drawn, pictures.shape[-2:]),
    )  # fmt: skip
    share = mix.share_of(pictures)
    yield compare(path.name, f"{what}.out", mix.mixed(pictures), golden[f"{what}.out"], MIXED)
    yield exact(path.name, f"{what}.share", abs(share - drawn["lam_used"]) < 1e-12, 1)
    logits = golden[f"{what}.logits"].clone().requires_grad_()
    own, other = (smoothed_losses(logits, y, smoothing) for y in (labels, labels.flip(0)))
    loss = (share * own + (1 - share) * other).mean()
    (gradient,) = torch.autograd.grad(loss, [logits])
    yield compare(path.name, f"{what}.loss", loss, golden[f"{what}.loss"], MIXED)
    yield compare(path.name, f"{what}.grad", gradient, golden[f"{what}.grad"], MIXED)


def _centre(drawn: Mapping[str, Any], size: torch.Size) -> tuple[float, float] | None:
    """Of a recorded box, whose sides are cut off where it begins or ends at an edge."""
    if not drawn["cutmix"]:
        return None
    top, bottom, left, right = drawn["yl_yh_xl_xh"]
    found = []
    for length, low, high in ((size[0], top, bottom), (size[1], left, right)):
        half = int(length * math.sqrt(1 - drawn["lam_drawn"])) // 2
        found.append(((low + half if low else high - half) + 0.5) / length)
    return found[0], found[1]


def _step_rows(path: Path, golden: Tensors, described: dict[str, Any]) -> Iterator[Row]:
    """Three steps in the middle of the schedule, with soft targets as mixing made them."""
    state = load_file(path.with_name("vit_weights.safetensors"))
    model, _ = simmim.from_state({**state, "head.weight": state["head.weight"] * _LOGIT_TWICE})
    model.train().requires_grad_()
    config = FinetuneConfig(
        lr=1.25e-3, min_lr=2e-4, epochs=30, warmup=0.1, schedule="timm", layer_decay=0.65,
        weight_decay=described["weight_decay"], clip=described["clip"],
    )  # fmt: skip
    named = {
        name if name.startswith("head.") else f"{BACKBONE}{name}": tensor
        for name, tensor in model.named_parameters()
    }
    optimisers = Optimisers(named, Named(model), config, described["steps_per_epoch"])
    for number, time in enumerate(described["schedule_t"]):
        logits = model(golden["steps.x"])
        name = f"steps.logits{number}"
        yield compare(path.name, name, logits.detach(), golden[name], LOGITS)
        loss = -(golden["steps.target"] * logits.log_softmax(-1)).sum(-1).mean()
        loss.backward()
        optimisers.step(time + 1)  # the schedule is told of a step after it was taken
    for name, tensor in model.named_parameters():
        if f"steps.after3.{name}" in golden:
            key = f"steps.after3.{name}"
            yield compare(path.name, key, tensor.detach(), golden[key], AFTER)


_KINDS: Mapping[tuple[str, str], Kind] = {
    ("altfreezing", "altstep"): _altstep_rows,
    ("altfreezing", "lr"): _slowfast_rows,
    ("human-anomaly", "schedules"): _groups_rows,
    ("human-anomaly", "train"): _train_rows,
}
