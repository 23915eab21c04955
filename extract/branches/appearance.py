"""Appearance: how much the look of a frame departs from the first frame's and the previous one's.

VBench's subject consistency with colours and texture (`extract.looks`) in a network's place.
"""

from torch import Tensor

from extract.branch import BranchRequest
from extract.decode_job import Output
from extract.looks import LOOK, SETTINGS
from extract.prior import Measure, PriorBranch, check_preset
from extract.views import PAIRS

REVISION = 1
PRESETS = ("palette",)
LOOKS = Output(
    name="looks",
    function="extract.looks:view_looks",
    shape=(2 * PAIRS, LOOK),
    dtype="float32",
)


class AppearanceBranch(PriorBranch):
    """`curve`: one minus the mean likeness to the first and to the previous frame."""

    def curve(self, batch: Tensor) -> Tensor:
        return inconsistency(batch)


def inconsistency(looks_bnd: Tensor) -> Tensor:
    """Unit vectors, a pair of adjacent frames after the other → (B, pairs)."""
    looks_bnd = looks_bnd.double()
    second_bpd = looks_bnd[:, 1::2]
    to_first = (second_bpd * looks_bnd[:, :1]).sum(dim=-1)
    to_previous = (second_bpd * looks_bnd[:, ::2]).sum(dim=-1)
    likeness = (to_first + to_previous) / 2
    return (1 - likeness).float()


def load(request: BranchRequest) -> AppearanceBranch:
    check_preset(request, PRESETS)
    measure = Measure(prepare=LOOKS, settings=SETTINGS, source="colour and texture consistency")
    return AppearanceBranch(request, measure, REVISION)
