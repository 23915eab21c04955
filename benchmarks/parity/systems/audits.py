"""VidAudit's audit and DeepfakeBench's metrics against golden files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.parity.rows import Kind, Row, compare
from heads.judging import deepfakebench, vidaudit
from heads.judging.vidaudit import Audited

ROUNDED, METRICS, OF_VIDEOS = 1e-4, 1e-12, 1e-9
_AUDITED = {
    "logo_ood": "unseen", "logo_id": "seen", "rvr": "reals_apart", "pauc10": "partial_auc",
    "tpr1": "tpr_1", "tpr01": "tpr_01", "brier": "brier", "ece": "calibration_error",
}  # fmt: skip
_FRAMES = {
    "acc": "accuracy", "auc": "auc", "eer": "eer", "ap": "average_precision",
    "video_auc": "video_auc",
}  # fmt: skip
_RIGHT = {
    "eer_interpolated": "eer", "video_auc_if_video_is_the_whole_folder_path": "video_auc"
}  # fmt: skip
Document = Mapping[str, Any]


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del path
    if described.get("system") == "VidAudit protocol":
        return vidaudit_rows
    return deepfakebench_rows if "frame_to_video" in described else None


def vidaudit_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    table = _columns(described)
    features = np.stack([table[f"f{number}"] for number in range(6)], 1).astype(float)
    sources, real = table["generator"].tolist(), table["is_real"].astype(bool)
    kept = table["generator"] != "realB"
    fewer = table["generator"][kept].tolist()
    for name, ours in (
        ("audit of the features f0..f5", vidaudit.audit_features(features, sources, real)),
        (
            "audit of the fixed column score",
            vidaudit.audit_score(table["score"].astype(float), sources, real),
        ),
        (
            "audit of the features without realB (one real source)",
            vidaudit.audit_features(features[kept], fewer, real[kept]),
        ),
    ):
        yield from _audited(path.name, name, ours, described[name])
    yield from _one_vector(path.name, described["metrics on one vector"])


def deepfakebench_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    for name, case in described["frame_to_video"].items():
        scores = np.array(case["y_pred"], case["y_pred_dtype"])
        labels = np.array(case["y_true"])
        for official, names, key in ((True, _FRAMES, "expected"), (False, _RIGHT, "also")):
            found = deepfakebench.frame_numbers(
                scores, labels, case["img_names"], released=official
            )
            for theirs, ours in names.items():
                if theirs in case.get(key, {}):
                    tolerance = OF_VIDEOS if ours == "video_auc" else METRICS
                    yield _number(
                        path.name, f"{name}.{theirs}", getattr(found, ours), case[key][theirs],
                        tolerance,
                    )  # fmt: skip


def _audited(file: str, name: str, ours: Audited, theirs: Document) -> Iterator[Row]:
    margin = ours.margin(folded=False)
    for key, value in [*((k, getattr(ours, v)) for k, v in _AUDITED.items()), ("margin", margin)]:
        if theirs[key] is not None:
            yield _number(file, f"{name}: {key}", value, theirs[key], ROUNDED)
    for generator, numbers in theirs["per_generator"].items():
        found = ours.generators[generator]
        yield _number(file, f"{name}: {generator}, unseen", found.auc, numbers["OOD_auc"], ROUNDED)
        yield _number(file, f"{name}: {generator}, seen", found.seen_auc, numbers["ID_auc"],
                      ROUNDED)  # fmt: skip


def _one_vector(file: str, case: Document) -> Iterator[Row]:
    truth, said = np.array(case["y (1 generated)"]), np.array(case["p"], float)
    found = {
        "partial auc 0..0.10, McClish standardised": vidaudit.partial_auc(truth, said),
        **{
            f"tpr at fpr {rate:g}": vidaudit.tpr_at(truth, said, rate)
            for rate in (0.001, 0.01, 0.05)
        },
        "ece, 10 equal bins, first bin closed on both sides": vidaudit.calibration_error(
            truth, said
        ),
    }
    for name, value in found.items():
        yield _number(file, name, value, case[name], METRICS)


def _columns(described: Document) -> dict[str, np.ndarray[Any, Any]]:
    """What is not known is None."""
    rows = zip(*described["rows"], strict=True)
    return {
        name: np.array([np.nan if value is None else value for value in column], dtype=object)
        for name, column in zip(described["columns"], rows, strict=True)
    }


def _number(file: str, quantity: str, ours: float, theirs: float, tolerance: float) -> Row:
    one, other = (torch.tensor([value], dtype=torch.float64) for value in (ours, theirs))
    return compare(file, quantity, one, other, tolerance)
