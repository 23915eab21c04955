"""D3, STALL, ReStraV and SPLIT: scores of the path that frames draw in an encoder's space."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.parity.rows import Kind, Row, compare, exact, gradients, tensors, weights_of
from extract.networks import paths, xclip
from extract.networks.xclip import XClipConfig
from extract.views.protocol import Protocol
from heads.parts.likelihood import Likelihoods
from heads.parts.straight import StraightMlp

LIKELIHOOD, LIKELIHOOD_SHARE = 1e-3, 1e-3
ANGLE, STRAIGHT_ANGLE, ANGLE_VARIANCE = 2e-3, 0.1, 2e-2
SPLIT_PART, SPLIT_SHARE = 1e-5, 1e-4


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    kinds: dict[str, Kind] = {
        "d3_scores": _d3_rows,
        "d3_xclip_tiny": _d3_tower_rows,
        "stall_full": _stall_rows,
        "stall_rank": _stall_rows,
        "stall_small_eig": _stall_rows,
        "restrav_features": _restrav_rows,
        "restrav_mlp": _mlp_rows,
        "restrav_released": _released_rows,
        "split_scores": _split_rows,
        "d3_frames": _d3_frame_rows,
        "stall_frames": _stall_frame_rows,
        "restrav_frames": _restrav_frame_rows,
    }
    return kinds.get(path.stem)


def _d3_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    for case in sorted({name.partition(".")[0] for name in golden}):
        yield from _d3(path, described, golden[f"{case}.emb"], f"{case}.")


def _d3(path: Path, described: dict[str, Any], vectors: Tensor, prefix: str) -> Iterator[Row]:
    golden, tolerance = tensors(path), described["tolerance_abs"]
    for name, first in (("l2", paths.lengths), ("cos", paths.similarities)):
        distances = first(vectors)
        found = {
            "first": distances,
            "second": distances[:, 1:] - distances[:, :-1],
            "std": paths.unevenness(distances),
        }
        for what, ours in found.items():
            key = f"{prefix}{name}.{what}"
            if key in golden:
                yield compare(path.name, key, ours, golden[key], tolerance)


@torch.no_grad()
def _d3_tower_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, size = tensors(path), described["config"]
    config = XClipConfig(
        width=size["hidden_size"], depth=size["num_hidden_layers"],
        heads=size["num_attention_heads"], patch=size["patch_size"], image=size["image_size"],
        frames=size["num_frames"], hidden=size["intermediate_size"],
    )  # fmt: skip
    tower = xclip.from_state(weights_of(path), config, "X-CLIP's tower")
    pixels = golden["pixels"]
    tokens = tower.tokens(pixels.flatten(0, 1))
    pooled = tower.ln_post(tokens[:, 0]).reshape(*pixels.shape[:2], -1)
    changed = pixels.clone()
    changed[0, 3] += 1
    moved = tower.ln_post(tower.tokens(changed.flatten(0, 1))[:, 0]).reshape(pooled.shape)
    for name, ours in (
        ("pooled", pooled),
        ("pooled.frame3_changed", moved),
        ("last_hidden", tokens.reshape(*pixels.shape[:2], *tokens.shape[1:])),
    ):
        yield compare(path.name, name, ours, golden[name], described["tolerance_abs"])
    yield from _d3(path, described, pooled, "")


def _stall_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """Against float32: absolute, but a share of the size where the spectrum is steep."""
    golden = tensors(path)
    calibrated = Likelihoods.of(golden["calib.emb"])
    frames, steps = calibrated.parts(golden["test.emb"])
    steep = min(described["facts"]["smallest and largest eigenvalue spatial"]) < 1e-3
    for name, ours in (
        ("score.spat_ll", frames),
        ("score.temp_ll", steps),
        ("calib.spat_sorted", calibrated.best_frames),
        ("calib.temp_sorted", calibrated.worst_steps),
    ):
        expected = golden[name].double()
        finite = expected.isfinite()
        size = float(expected[finite].abs().max())
        tolerance = LIKELIHOOD_SHARE * size if steep else LIKELIHOOD
        same = ours.where(finite, expected) if bool((ours.isinf() == ~finite).all()) else ours
        yield compare(path.name, name, same.where(finite, 0), expected.where(finite, 0), tolerance)
    one_video = 1 / len(golden["calib.emb"])
    ours = calibrated.score(golden["test.emb"])
    yield compare(
        path.name, "score.final_score", ours, golden["score.final_score"], one_video + 1e-6
    )


def _restrav_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    del described
    golden = tensors(path)
    for case in sorted({name.partition(".")[0] for name in golden}):
        vectors = golden[f"{case}.Z"]
        lengths, angles = paths.lengths(vectors), paths.angles(vectors)
        expected = golden[f"{case}.theta"]
        yield compare(path.name, f"{case}.d", lengths, golden[f"{case}.d"], 1e-5)
        straight = (expected < 1) | (expected > 179)
        for what, which, tolerance in (
            ("theta", ~straight, ANGLE),
            ("theta (straight)", straight, STRAIGHT_ANGLE),
        ):
            if bool(which.any()):
                yield compare(
                    path.name, f"{case}.{what}", angles[which], expected[which], tolerance
                )
        features, known = paths.straightness(lengths, angles), golden[f"{case}.features"]
        widest = STRAIGHT_ANGLE if bool(straight.any()) else ANGLE_VARIANCE
        yield compare(path.name, f"{case}.features", features, known, widest)


def _mlp_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, tolerance = tensors(path), described["tolerance_abs"]
    mlp = StraightMlp.of({**weights_of(path), "mean": golden["mean"], "std": golden["std"]})
    logit = mlp(golden["raw"])
    yield compare(
        path.name, "normalised", mlp.normalised(golden["raw"]), golden["normalised"], tolerance
    )
    yield compare(path.name, "logit", logit[:, None], golden["logit"], tolerance)
    yield compare(path.name, "prob_real", logit.sigmoid()[:, None], golden["prob_real"], tolerance)
    parameters = dict(mlp.named_parameters())
    loss = mlp.loss(golden["raw"], golden["label"].float())
    for name, ours in gradients(loss, parameters).items():
        yield compare(path.name, name, ours, golden[name], tolerance)
    optimiser = mlp.optimiser()
    for _ in range(3):
        optimiser.zero_grad()
        mlp.loss(golden["raw"], golden["label"].float()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    for name, ours in parameters.items():
        yield compare(
            path.name, f"after3.{name}", ours.detach(), golden[f"after3.{name}"], tolerance
        )


def _released_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden, tolerance = tensors(path), described["tolerance_abs"]
    mlp = StraightMlp.of(weights_of(path))
    logit = mlp(golden["raw"]).detach()[:, None]
    yield compare(path.name, "logit", logit, golden["logit"], tolerance)
    yield compare(path.name, "prob_real", logit.sigmoid(), golden["prob_real"], tolerance)


def _split_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    del described
    golden = tensors(path)
    for case in sorted({name.partition(".")[0] for name in golden}):
        patches = golden[f"{case}.patches"]
        rough, torn = paths.roughness(patches), paths.incoherence(patches)
        yield compare(path.name, f"{case}.ttr", rough, golden[f"{case}.ttr"], SPLIT_PART)
        yield compare(path.name, f"{case}.lsmi", torn, golden[f"{case}.lsmi"], SPLIT_PART)
        expected = golden[f"{case}.score"]
        ours, size = paths.patchwork(rough, torn), float(expected.abs().max())
        yield compare(path.name, f"{case}.score", ours, expected, SPLIT_SHARE * size)


def _d3_frame_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """As many frames as there are files, at D3's own rate."""
    for files, used in described["frames used, by number of JPEG files in the folder"].items():
        expected = list(range(used)) if isinstance(used, int) else []
        yield _chosen(path, "frames-16@8:d3", int(files), 8.0, expected)


def _stall_frame_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    for case in described["cases"]:
        for second, expected in case.get("windows (seed 42)", {"1_sec": None}).items():
            name = f"frames-{8 * int(second[0])}@8:stall"
            yield _chosen(path, name, case["num_frames"], case["fps"], expected or [])


def _restrav_frame_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    for case in described["cases"]:
        expected = case["frame shown then (constant rate)"]
        yield _chosen(path, "frames-24@12:restrav", case["frames"], case["fps"], expected)


def _chosen(path: Path, name: str, count: int, fps: float, expected: list[int]) -> Row:
    """What a protocol takes of a video, and what is missing of it."""
    (view,) = Protocol.parse(name).views("v", count, fps=fps)
    ours = view.frames[: len(view.frames) - view.missing]
    quantity = f"{name} of {count} at {fps:g}"
    if len(ours) != len(expected):
        return exact(path.name, f"{quantity}, how many", len(ours), len(expected))
    return exact(path.name, quantity, ours or 0, expected or 0)
