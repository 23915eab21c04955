"""Spatial: a stand-in for depth distortion, which needs a depth network.

What changes without moving: the warping error for each pixel of motion that is not the camera's.
A thing that passes through another changes pixels that no motion explains. It is a weak measure:
on made-up videos it hardly tells spatial anomalies from anything but motion anomalies; see
`benchmarks/bench_label.py`. Labels for a data set that matters need eyes, or depth maps.
"""

from torch import Tensor

from extract.branch import BranchRequest
from extract.branches.motion import FLOW
from extract.flow import MEASURES, SETTINGS
from extract.prior import Measure, PriorBranch, check_preset

REVISION = 1
PRESETS = ("rigidity",)


class SpatialBranch(PriorBranch):
    """`curve`: the rigidity residual of each pair."""

    def curve(self, batch: Tensor) -> Tensor:
        return batch[..., MEASURES.index("rigidity")]


def load(request: BranchRequest) -> SpatialBranch:
    check_preset(request, PRESETS)
    source = "rigidity residual under DIS flow, a weak stand-in for depth distortion"
    return SpatialBranch(request, Measure(prepare=FLOW, settings=SETTINGS, source=source), REVISION)
