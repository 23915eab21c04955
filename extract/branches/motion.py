"""Motion: how badly optical flow explains the change from one frame to the next.

The warping error of Lai et al. (2018) with OpenCV's DIS flow: the next frame warped back. Pixels
that leave the picture are left out; those whose flows disagree are not, since that is what a torn
body looks like. The score is the worst pair's error: a jump lasts one pair.
"""

from torch import Tensor

from extract.branch import BranchRequest
from extract.decode_job import Output
from extract.flow import MEASURES, SETTINGS
from extract.prior import Measure, PriorBranch, check_preset
from extract.views import PAIRS

REVISION = 1
PRESETS = ("dis",)
FLOW = Output(
    name="pair_errors",
    function="extract.flow:pair_errors",
    shape=(PAIRS, len(MEASURES)),
    dtype="float32",
)


class MotionBranch(PriorBranch):
    """`curve`: the warping error of each pair."""

    def curve(self, batch: Tensor) -> Tensor:
        return batch[..., MEASURES.index("warp")]

    def total(self, curve: Tensor) -> Tensor:
        return curve.amax(dim=1, keepdim=True)


def load(request: BranchRequest) -> MotionBranch:
    check_preset(request, PRESETS)
    measure = Measure(prepare=FLOW, settings=SETTINGS, source="warping error under DIS flow")
    return MotionBranch(request, measure, REVISION)
