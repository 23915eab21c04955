"""The fusion head, its loss, the learning rates and the metrics against golden files."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.parity.rows import Row, compare
from extract.released.humansam import columns_by_vector
from heads.judging.released import merge_views
from heads.measuring.metrics import measure
from heads.parts.fusion_net import Layout, Parameters, fold, logits, mixing, vectors
from heads.training.losses import rank_weights, smoothed_losses
from heads.training.schedule import cosine_schedule

LOGITS, LOSS, RATES, METRICS = 2e-5, 1e-6, 1e-15, 1e-6
_CLASSES = {2: ("forgery", "real"), 4: ("appearance", "spatial", "motion", "real")}
_RETURNED = {
    "accuracy": "accuracy", "macro_precision": "precision", "macro_recall": "recall",
    "auc(ovr macro)": "auc", "binary_accuracy": "binary_accuracy", "binary_auc": "binary_auc",
}  # fmt: skip


def as_written(own: Parameters, x: Tensor, layout: Layout) -> Tensor:
    """The head in the paper's order, sample by sample through fc1."""
    video = vectors(own, x, layout)
    attn = video[..., layout.normed :] * own["fc_norm.weight"] + own["fc_norm.bias"]
    video = torch.cat([video[..., : layout.normed], attn], -1)
    fused = video @ own["fc1.weight"].mT + own["fc1.bias"]
    if layout.depth:
        alpha = mixing(own, layout)
        fused = alpha * fused + (1 - alpha) * x[..., layout.video :]
    return fused @ own["classes.weight"].mT + own["classes.bias"]


def head_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """Evaluation, in the three ways that the head is computed here."""
    del described
    norms = load_file(path.with_suffix(".safetensors"))
    weights = load_file(path.with_name("fusion.safetensors"))
    width = norms["cls"].shape[1]
    hidden, video = weights["fc1.weight"].shape
    own = {
        "fc1.weight": columns_by_vector(weights["fc1.weight"].float(), width),
        "fc1.bias": weights["fc1.bias"],
        "alpha": weights["alpha"].reshape(1),
        "classes.weight": weights["head.weight"],
        "classes.bias": weights["head.bias"],
        **{k: v for k, v in norms.items() if k.startswith(("down_norm", "fc_norm"))},
    }
    layout = Layout(width=width, attn=video - 2 * width, depth=hidden, hidden=hidden)
    depth = (norms["depth_frame0"] + norms["depth_frame3"]) / 2
    x = torch.cat([norms["cls"], norms["avg"], norms["attn"], depth], 1)
    expected = norms["eval.logits"]
    for name, ours in (
        ("collapsed", logits(own, x, layout)),
        ("as written", as_written(own, x, layout)),
        ("folded", fold(own, layout).logits(x)),
    ):
        yield compare(path.name, f"eval.logits, {name}", ours, expected, LOGITS)


def loss_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    targets = torch.tensor(described["targets"])
    for name, case in described["cases"].items():
        given = torch.tensor(described["logits"], requires_grad=True)
        losses = smoothed_losses(given, targets, 0.1 if name.startswith("label") else 0.0)
        yield compare(path.name, name, losses.detach(), _tensor(case["per_sample_loss"]), LOSS)
        if case["weights"] is not None:
            ranks = torch.tensor([math.exp(weight) - math.e for weight in case["weights"]])
            losses = losses * rank_weights(ranks)
        (gradient,) = torch.autograd.grad(losses.mean(), given)
        expected = _tensor(case["grad_logits"])
        yield compare(path.name, f"{name}, gradient", gradient, expected, LOSS)


def schedule_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    about = described["schedule"]
    values = about["lr_values"]
    warmup = int(about["warmup_epochs"] * about["steps_per_epoch"])
    ours = cosine_schedule(
        about["peak_lr"], about["min_lr"], len(values), warmup, about["warmup_lr"]
    )
    expected = torch.tensor(values, dtype=torch.float64)
    yield compare(path.name, "learning rates", torch.from_numpy(ours), expected, RATES)


def metrics_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    for name, case in described["cases"].items():
        if "rows_in_reading_order" not in case:
            continue
        merged = merge_views(case["rows_in_reading_order"])
        ours = [merged.probabilities[merged.ids.index(video)] for video in case["mean_softmax"]]
        expected = _tensor(list(case["mean_softmax"].values()))
        yield compare(path.name, f"{name}, means", _tensor(np.stack(ours)), expected, METRICS)
        numbers = measure(
            merged.probabilities, merged.labels, _CLASSES[case["num_classes"]]
        ).numbers()
        for what, value in zip(case["returned_names"], case["returned_percent"], strict=True):
            if what in _RETURNED and value != "nan":
                found = _tensor([100 * numbers[_RETURNED[what]]])
                yield compare(path.name, f"{name}, {what}", found, _tensor([value]), METRICS)


def _tensor(values: Any) -> Tensor:  # noqa: ANN401
    return torch.from_numpy(np.asarray(values, np.float64))
