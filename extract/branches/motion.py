"""Motion prior: how badly optical flow explains the next frame (warping distortion).

Preset `raft` is the published measure: RAFT's flow, Lai et al.'s warping error, the mean over the
pairs; see `extract.networks.raft` and `extract.priors.warping`. `raft-tiny` is the same with random
numbers.

Preset `dis` needs no weights; see `extract.priors.flow`. A jump lasts one pair of frames, so its
score is the mean of the worst eighth of the curve.
"""

from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.errors import BadSetting, BadWeights
from extract.networks import raft
from extract.networks.weights import RANDOM, content_hash
from extract.priors.flow import DECIDES, MEASURES
from extract.priors.pair_scorer import Method, load_scorer
from extract.priors.picture_scorer import (
    OPTIONS,
    PictureScorer,
    Said,
    picture_side,
    raft_iterations,
)
from extract.priors.two_way_flow import pair_warp
from extract.priors.warping import warping_error

SIDE = 256
DIS = Method(
    preset="dis",
    function="extract.priors.flow:flow_measures",
    measures=len(MEASURES),
    column=MEASURES.index("warping"),
    worst=0.125,
    decides=DECIDES,
    meaning="warping error of DIS optical flow over visible, moving pixels",
)


class WarpingScorer(PictureScorer):
    """Warping error under RAFT's flow."""

    def __init__(self, request: BranchRequest, model: raft.Raft, source: str) -> None:
        if request.precision not in (None, "float32"):
            raise BadSetting(f"motion={request.preset} computes in float32: leave precision out.")
        said = Said(
            decides={
                "method": "warping error under RAFT",
                "weights": content_hash(model.state_dict()),
                "iterations": model.iterations,
            },
            meaning="warping error of RAFT optical flow over visible pixels",
            source=source,
        )
        super().__init__(request, said, side=picture_side(request, SIDE), precision="float32")
        self.model = model.to(self.device).requires_grad_(requires_grad=False)

    def curve(self, first_pchw: Tensor, second_pchw: Tensor) -> Tensor:
        warp = pair_warp(self.model, first_pchw, second_pchw)
        return warping_error(first_pchw / 255, second_pchw / 255, warp)


def load(request: BranchRequest) -> Branch:
    if request.preset not in ("raft", "raft-tiny"):
        return load_scorer(request, DIS, others=("raft", "raft-tiny"))
    request.check_options((*OPTIONS, "iterations"))
    iterations = raft_iterations(request)
    if request.preset == "raft-tiny":
        if request.weights is not None:
            raise BadSetting(f"motion=raft-tiny has random weights; leave {request.weights} out.")
        return WarpingScorer(request, raft.tiny(iterations), RANDOM)
    if request.weights is None:
        raise BadWeights(
            "motion=raft needs weights: motion=raft:PATH, with raft-things.pth as the RAFT "
            "repository of Princeton's vision lab links it, or raft_large of torchvision. Without "
            "weights there is motion=dis."
        )
    return WarpingScorer(request, raft.read(request.weights, iterations), request.weights.name)
