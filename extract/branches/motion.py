"""Motion prior: how badly optical flow explains the next frame (warping distortion).

Preset `dis` needs no weights; see `extract.flow`. A jump lasts one pair of frames, so the score is
the mean of the worst eighth of the curve.
"""

from extract.branch import BranchRequest
from extract.flow import DECIDES, MEASURES
from extract.pair_scorer import Method, PairScorer, load_scorer

DIS = Method(
    preset="dis",
    function="extract.flow:flow_measures",
    measures=len(MEASURES),
    column=MEASURES.index("warping"),
    worst=0.125,
    decides=DECIDES,
    meaning="warping error of DIS optical flow over visible, moving pixels",
)


def load(request: BranchRequest) -> PairScorer:
    return load_scorer(request, DIS)
