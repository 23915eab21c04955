"""What the scorers with networks share: pictures of pairs go to the device, a curve comes back.

Outputs are those of `pair_scorer`: `curve` (pairs) and `score` (1), larger is more anomalous; the
score is the mean of the curve, as published. Videos differ in size, so views are computed one by
one, some pairs at a time, which also makes the numbers independent of the batch.
Legend: p pairs, c colours, h height, w width; s the square's side.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest, Precision
from extract.networks import raft
from extract.priors import warping
from extract.priors.pair_scorer import scorer_outputs
from extract.priors.picture_pairs import SIDES, picture_output

PAIRS_AT_ONCE = 8
MAX_ITERATIONS = 64
"""Of RAFT."""
REVISION = 1
OPTIONS = ("pairs", "dtype", "side")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a scorer's numbers follow from, and where it is from."""

    decides: Mapping[str, Any]
    meaning: str
    source: str
    """Of the weights, for people."""


class PictureScorer(Branch):
    """A scorer with a network."""

    def __init__(
        self, request: BranchRequest, said: Said, *, side: int, precision: Precision
    ) -> None:
        self.outputs = scorer_outputs(request)
        (pairs,) = self.outputs["curve"].shape
        self.name = request.name
        self.preset = request.preset
        self.device = torch.device(request.device)
        self.precision = precision
        self.prepare = picture_output(pairs, side)
        self.decides = {
            **said.decides,
            "pairs": pairs,
            "side": side,
            "precision": precision,
            "revision": [REVISION, warping.REVISION],
        }
        self.provenance = {"source": said.source, "meaning": said.meaning}

    @abstractmethod
    def curve(self, first_pchw: Tensor, second_pchw: Tensor) -> Tensor:
        """Numbers (p) of pairs of pictures in 0…255, all of one size."""

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        curve_bp = torch.stack([self._view_curve(view) for view in batch])
        return {"curve": curve_bp, "score": curve_bp.double().mean(1, keepdim=True).float()}

    def _view_curve(self, view_p2ssc: Tensor) -> Tensor:
        height, width = (int((view_p2ssc[0, 0, :, :, 3] > 0).any(axis).sum()) for axis in (1, 0))
        pictures = view_p2ssc[:, :, :height, :width, :3].permute(0, 1, 4, 2, 3)
        other = (pictures[1:] != pictures[:-1]).flatten(1).any(1)
        new_p = torch.cat([other.new_ones(1), other])  # short videos have some pairs twice
        parts = [
            self.curve(part[:, 0].float(), part[:, 1].float())
            for part in torch.split(pictures[new_p], PAIRS_AT_ONCE)
        ]
        return torch.cat(parts)[new_p.cumsum(0) - 1]

    def example(self, count: int) -> Tensor:
        shape = (count, *self.prepare.shape)
        views = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)
        views[..., 3] = 255
        return views


def raft_iterations(request: BranchRequest) -> int:
    return request.whole_number("iterations", raft.ITERATIONS, MAX_ITERATIONS)


def picture_side(request: BranchRequest, default: int) -> int:
    return int(request.option("side", str(default), [str(side) for side in SIDES]))
