"""Spatial prior: how far the picture's parts swell and shrink instead of moving rigidly.

The paper compares depth maps of adjacent frames. Preset `dis` needs no weights and is a stand-in
for that: the rigidity residual of optical flow, see `extract.flow`. It sees a limb that grows, not
a hand that goes through a drum; on the made-up set it is no better than chance.
"""

from extract.branch import BranchRequest
from extract.flow import DECIDES, MEASURES
from extract.pair_scorer import Method, PairScorer, load_scorer

DIS = Method(
    preset="dis",
    function="extract.flow:flow_measures",
    measures=len(MEASURES),
    column=MEASURES.index("rigidity"),
    worst=1.0,
    decides=DECIDES,
    meaning="rigidity residual of DIS optical flow; a stand-in for depth distortion",
)


def load(request: BranchRequest) -> PairScorer:
    return load_scorer(request, DIS)
