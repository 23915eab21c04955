"""Appearance: how far the look of a frame has come from the first frame's, slowly.

Looks are colours and texture (`extract.looks`) in a network's place. VBench's subject consistency
takes the mean likeness to the first and to the previous frame. Colours follow fast motion, though,
where a network's features do not, so the change from the previous frame counts against: what is
left has added up, as a change of clothes or build does.
"""

from torch import Tensor

from extract.branch import BranchRequest
from extract.decode_job import Output
from extract.looks import LOOK, SETTINGS
from extract.prior import Measure, PriorBranch, check_preset
from extract.views import PAIRS

REVISION = 1
PRESETS = ("palette",)
MOTION_SHARE = 3.0
LOOKS = Output(
    name="looks",
    function="extract.looks:view_looks",
    shape=(2 * PAIRS, LOOK),
    dtype="float32",
)


class AppearanceBranch(PriorBranch):
    """`curve`: the distance to the first frame less three times that to the previous one."""

    def curve(self, batch: Tensor) -> Tensor:
        return slow_change(batch)


def slow_change(looks_bnd: Tensor) -> Tensor:
    """Unit vectors, a pair of adjacent frames after the other → (B, pairs)."""
    looks_bnd = looks_bnd.double()
    second_bpd = looks_bnd[:, 1::2]
    to_first = (second_bpd * looks_bnd[:, :1]).sum(dim=-1)
    to_previous = (second_bpd * looks_bnd[:, ::2]).sum(dim=-1)
    return ((1 - to_first) - MOTION_SHARE * (1 - to_previous)).float()


def load(request: BranchRequest) -> AppearanceBranch:
    check_preset(request, PRESETS)
    measure = Measure(
        prepare=LOOKS,
        settings={**SETTINGS, "motion_share": MOTION_SHARE},
        source="colour and texture consistency",
    )
    return AppearanceBranch(request, measure, REVISION)
