"""Prior scores: how anomalous a video is in one respect, from one frame to the next.

Such a scorer is a branch like any other: a file in `extract/branches/`, so it is extracted, kept,
fingerprinted and resumed like one. Its outputs are `curve`, a number for each of a view's pairs of
adjacent frames, and `score`, the curve's mean if the branch says nothing else. Large means
anomalous. Protocol: `pairs-16`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.decode_job import Output
from extract.errors import BadSetting
from extract.views import PAIRS
from features_store.schema import ArraySpec

PROTOCOL = f"pairs-{PAIRS}"
SCORERS = ("spatial", "appearance", "motion")
"""In the paper's order: where ranks tie the first one gives the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a scorer without a network is made of."""

    prepare: Output
    settings: Mapping[str, object]
    """All that decides what `prepare` makes."""
    source: str
    """What it stands on, for people."""


class PriorBranch(Branch):
    """A scorer without weights. It always computes on the CPU: decode workers did the work."""

    def __init__(self, request: BranchRequest, measure: Measure, revision: int) -> None:
        request.check_options(())
        if request.weights is not None:
            raise BadSetting(
                f"{request.name}={request.preset} takes no weights, got {request.weights}; leave "
                f"them out."
            )
        if request.precision not in (None, "float32"):
            raise BadSetting(
                f"{request.name}={request.preset} computes in float32, not {request.precision}."
            )
        self.name, self.preset = request.name, request.preset
        self.device, self.precision = torch.device("cpu"), "float32"
        self.prepare = measure.prepare
        self.outputs = {
            "curve": ArraySpec(shape=(PAIRS,), dtype="float32"),
            "score": ArraySpec(shape=(1,), dtype="float32"),
        }
        self.decides = {
            "preset": request.preset,
            "preprocessing": dict(measure.settings),
            "revision": revision,
        }
        self.provenance = {"source": measure.source, "weights": "none", "opencv": cv2.__version__}

    def curve(self, batch: Tensor) -> Tensor:
        """Rows of `prepare` → (B, pairs)."""
        raise NotImplementedError

    def total(self, curve: Tensor) -> Tensor:
        """(B, pairs) → (B, 1), the score."""
        return curve.double().mean(dim=1, keepdim=True).float()

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        curve = self.curve(batch)
        return {"curve": curve, "score": self.total(curve)}

    def example(self, count: int) -> Tensor:
        return torch.rand(count, *self.prepare.shape)


def check_preset(request: BranchRequest, presets: tuple[str, ...]) -> None:
    if request.preset not in presets:
        raise BadSetting(
            f"{request.name} preset {request.preset!r} unknown; have: {', '.join(presets)}."
        )
