"""The fusion head, the loss, the schedule and the metrics against the released code's numbers."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.parity.humansam_heads import as_written
from extract.released.humansam import columns_by_vector
from heads.judging.released import merge_views
from heads.measuring.metrics import measure
from heads.parts.fusion_net import (
    BatchStatistics,
    Layout,
    fold,
    logits,
    misordered,
)
from heads.training.losses import rank_weights, smoothed_losses
from heads.training.model import Batch
from heads.training.schedule import cosine_schedule
from heads.zoo.fusion import FusionConfig, FusionModel

GOLDEN = Path(__file__).parents[1] / "golden"
LAYOUT = Layout(width=1024, attn=768, depth=1024, hidden=1024)


def golden(name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"{name}.safetensors")


def described(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return found


def parameters() -> dict[str, Tensor]:
    """The head's weights under our names; fc1's columns as cls, avg, attn."""
    head, norms = golden("fusion"), golden("fusion_head")
    return {
        "fc1.weight": columns_by_vector(head["fc1.weight"].float(), 1024).contiguous(),
        "fc1.bias": head["fc1.bias"].clone(),
        "alpha": head["alpha"].reshape(1).clone(),
        "classes.weight": head["head.weight"].clone(),
        "classes.bias": head["head.bias"].clone(),
        **{
            name: norms[name].clone() for name in norms if name.startswith(("down_norm", "fc_norm"))
        },
    }


def features() -> Tensor:
    found = golden("fusion_head")
    depth = (found["depth_frame0"] + found["depth_frame3"]) / 2
    return torch.cat([found["cls"], found["avg"], found["attn"], depth], 1)


def test_evaluation_equals_the_released_head() -> None:
    expected = golden("fusion_head")["eval.logits"]
    own = parameters()
    for found in (
        logits(own, features(), LAYOUT),
        as_written(own, features(), LAYOUT),
        fold(own, LAYOUT).logits(features()),
    ):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_three_training_steps_equal_the_released_ones() -> None:
    expected, about = golden("fusion_head"), described("fusion_head")
    own = parameters()
    for name, tensor in own.items():
        tensor.requires_grad = "running" not in name
    config = FusionConfig(official=True, repeat=2)
    model = FusionModel(config, LAYOUT, own)
    decayed, plain = model.parameters()
    assert {id(own[name]) for name in ("fc1.weight", "alpha", "classes.weight")} == set(
        map(id, decayed)
    )
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        fused=True,
    )
    weights = rank_weights(expected["ranks"].float())
    for step, rate in enumerate(about["lr_per_step"]):
        for group in optimiser.param_groups:
            group["lr"] = rate
        found = logits(own, features(), LAYOUT, BatchStatistics(own))
        loss = (smoothed_losses(found, expected["targets"], 0.1) * weights).mean()
        torch.testing.assert_close(found, expected[f"step{step}.logits"], atol=5e-5, rtol=0)
        torch.testing.assert_close(
            loss, expected[f"step{step}.loss"].to(loss.dtype), atol=5e-5, rtol=0
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if step == 0:
            _check_gradients(own, expected)
        optimiser.step()
    pairs = {"head.weight": "classes.weight", "head.bias": "classes.bias"}
    for name in ("fc_norm.weight", "fc_norm.bias", "fc1.bias", "head.weight", "head.bias"):
        ours = own[pairs.get(name, name)].detach()
        torch.testing.assert_close(ours, expected[f"after3.{name}"], atol=2e-6, rtol=0)
    alpha = own["alpha"].detach().reshape(())
    torch.testing.assert_close(alpha, expected["after3.alpha"], atol=2e-6, rtol=0)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(
            own[f"down_norm.{name}"], expected[f"after3.down_norm.{name}"], atol=1e-6, rtol=0
        )
    sampled = interleaved(own["fc1.weight"].detach())[::61, ::97]
    after = expected["after3.fc1.weight.every_61st_row_every_97th_column"]
    torch.testing.assert_close(sampled, after, atol=1e-4, rtol=0)


def _check_gradients(own: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    pairs = {"head.weight": "classes.weight", "head.bias": "classes.bias"}
    for name in ("fc_norm.weight", "fc_norm.bias", "fc1.bias", "head.weight", "head.bias", "alpha"):
        ours = own[pairs.get(name, name)].grad
        theirs = expected[f"step0.grad.{name}"]
        assert ours is not None
        difference = (ours.reshape(theirs.shape) - theirs).norm() / theirs.norm()
        assert difference < 1e-4, name
    gradient = own["fc1.weight"].grad
    assert gradient is not None
    sampled = interleaved(gradient)[::61, ::97]
    theirs = expected["step0.grad.fc1.weight.every_61st_row_every_97th_column"]
    assert (sampled - theirs).norm() / theirs.norm() < 1e-4


def interleaved(weight: Tensor) -> Tensor:
    """Our column order back to the released one."""
    pairs = torch.stack([weight[:, :1024], weight[:, 1024:2048]], 2).flatten(1)
    return torch.cat([pairs, weight[:, 2048:]], 1)


def test_the_released_pairing_of_depth_is_reproduced() -> None:
    for case in described("fusion")["num_sample_2_row_pairing"]:
        repeat, videos = case["num_sample"], case["batch_size"]
        own = torch.arange(videos).repeat_interleave(repeat)  # each row's own video
        used = misordered(own, repeat)
        assert [f"d{video}" for video in used.tolist()] == case["depth_rows_used"]
    config = FusionConfig(official=True, repeat=2)
    model = FusionModel(config, LAYOUT, parameters())
    rows = np.repeat(np.arange(3), 2)
    batch = Batch(x=features()[rows], rows=rows, views=rows * 0)
    found = model.training_logits(batch)
    right = logits(parameters(), batch.x, LAYOUT, BatchStatistics(parameters()))
    differs = ((found - right).abs().max(1).values > 1e-3).tolist()
    assert differs == [False, True, True, True, True, False]


def test_losses() -> None:
    about = described("loss")
    given = torch.tensor(about["logits"])
    targets = torch.tensor(about["targets"])
    for name, case in about["cases"].items():
        smoothing = 0.1 if name.startswith("label") else 0.0
        own = given.clone().requires_grad_()
        losses = smoothed_losses(own, targets, smoothing)
        np.testing.assert_allclose(losses.detach(), case["per_sample_loss"], atol=1e-6)
        if case["weights"] is not None:
            ranks = torch.tensor([math.exp(weight) - math.e for weight in case["weights"]])
            losses = losses * rank_weights(ranks)
        losses.mean().backward()  # type: ignore[no-untyped-call]
        assert abs(losses.mean().item() - case["batch_loss"]) < 1e-6
        assert own.grad is not None
        np.testing.assert_allclose(own.grad.numpy(), case["grad_logits"], atol=1e-6)


def test_learning_rates() -> None:
    about = described("optim")["schedule"]
    values = np.array(about["lr_values"])
    warmup = int(about["warmup_epochs"] * about["steps_per_epoch"])
    peak, low = about["peak_lr"], about["min_lr"]
    found = cosine_schedule(peak, low, len(values), warmup, about["warmup_lr"])
    np.testing.assert_allclose(found, values, rtol=1e-12)
    values = np.array(described("optim")["schedule_no_warmup_3_epochs"])
    found = cosine_schedule(peak, low, len(values), 0, peak)
    np.testing.assert_allclose(found, values, rtol=1e-12)


CLASSES = {2: ("forgery", "real"), 4: ("appearance", "spatial", "motion", "real")}
OURS = {
    "accuracy": "accuracy", "macro_precision": "precision", "macro_recall": "recall",
    "auc(ovr macro)": "auc", "auc(prob of class 1)": "binary_auc", "f1(positive=Real)": "binary_f1",
    "binary_accuracy": "binary_accuracy", "binary_auc": "binary_auc",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(described("metrics")["cases"]))
def test_metrics(name: str) -> None:
    cases = described("metrics")["cases"]
    case = cases[name]
    rows = (case if "mean_softmax" in case else cases["two_class_merge2"])["rows_in_reading_order"]
    merged = merge_views(rows)
    expected = case.get("mean_softmax", {})
    for video, probabilities in expected.items():
        ours = merged.probabilities[merged.ids.index(video)]
        np.testing.assert_allclose(ours, probabilities, atol=1e-6)
    found = measure(merged.probabilities, merged.labels, CLASSES[case["num_classes"]])
    compared = 0
    for what, value in zip(case["returned_names"], case["returned_percent"], strict=True):
        if what in OURS and not (case["function"] == "merge" and "class 1" in what):
            compared += 1
            ours = found.numbers()[OURS[what]]
            np.testing.assert_allclose(ours, float(value) / 100, atol=1e-8, err_msg=what)
    assert compared >= 3
    for call in case["sklearn_calls"]:
        if call["function"] == "f1_score" and call["arguments"].get("average") == "macro":
            assert abs(found.f1 - call["result"]) < 1e-12
    np.testing.assert_array_equal(found.confusion, case["confusion_matrices"][0])
