"""Spatial prior: is what is seen in the picture one thing in space, from frame to frame?

Preset `depthpro` is the paper's measure, depth distortion: depth maps of adjacent frames, the next
one taken back by optical flow, compared where both see the same; see `extract.priors.depth_map` and
`extract.priors.warping`. The flow is RAFT's (`?raft=PATH`), or else DIS's, which needs no weights.

Preset `dis` needs no weights at all and is a stand-in: the rigidity residual of optical flow, see
`extract.priors.flow`. It sees a limb that grows, not a hand that goes through a drum; on the
made-up set it is no better than chance.
"""

from pathlib import Path

import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest, Precision
from extract.errors import BadSetting, BadWeights
from extract.networks import raft
from extract.networks.weights import content_hash
from extract.priors import depth_map, flow
from extract.priors.flow import DECIDES, MEASURES
from extract.priors.pair_scorer import Method, load_scorer
from extract.priors.picture_scorer import (
    OPTIONS,
    PictureScorer,
    Said,
    picture_side,
    raft_iterations,
)
from extract.priors.two_way_flow import TwoWayFlow, dis_flow, pair_warp
from extract.priors.warping import depth_distortion

SIDE = 512
"""Depth Pro wants detail."""
DIS = Method(
    preset="dis",
    function="extract.priors.flow:flow_measures",
    measures=len(MEASURES),
    column=MEASURES.index("rigidity"),
    worst=1.0,
    decides=DECIDES,
    meaning="rigidity residual of DIS optical flow; a stand-in for depth distortion",
)


class DepthScorer(PictureScorer):
    """Depth distortion under RAFT's flow, or without it under DIS's."""

    def __init__(
        self, request: BranchRequest, model: depth_map.DepthMap, source: str,
        follow: raft.Raft | None,
    ) -> None:  # fmt: skip
        method = "DIS, ultrafast" if follow is None else "RAFT"
        found_by: dict[str, object] = {"method": method}
        if follow is None:
            found_by["revision"] = flow.REVISION
        else:
            found_by["weights"] = content_hash(follow.state_dict())
            found_by["iterations"] = follow.iterations
        said = Said(
            decides={
                "method": "depth distortion by Depth Pro",
                "weights": content_hash(model.state_dict()),
                "size": model.size,
                "flow": found_by,
            },
            meaning=f"distortion of Depth Pro's depth along {method} optical flow",
            source=source,
        )
        side = picture_side(request, SIDE)
        super().__init__(request, said, side=side, precision=_precision(request))
        self.model = model.to(self.device).requires_grad_(requires_grad=False)
        self.find: TwoWayFlow = dis_flow
        if follow is not None:
            self.find = follow.to(self.device).requires_grad_(requires_grad=False)

    def curve(self, first_pchw: Tensor, second_pchw: Tensor) -> Tensor:
        warp = pair_warp(self.find, first_pchw, second_pchw)
        first_phw, second_phw = self.model(torch.cat([first_pchw, second_pchw])).chunk(2)
        return depth_distortion(first_phw, second_phw, warp)


def load(request: BranchRequest) -> Branch:
    if request.preset != "depthpro":
        return load_scorer(request, DIS, others=("depthpro",))
    request.check_options((*OPTIONS, "raft", "iterations"))
    if request.weights is None:
        raise BadWeights(
            "spatial=depthpro needs weights: spatial=depthpro:FOLDER, with Hugging Face's "
            "DepthPro (config.json, model.safetensors). Without weights there is spatial=dis."
        )
    follow = _raft(request)
    model = depth_map.read(request.weights)
    return DepthScorer(request, model, request.weights.name, follow)


def _precision(request: BranchRequest) -> Precision:
    """On CUDA float16, as Apple's code has it: bfloat16 is too coarse for small differences."""
    if request.precision is not None:
        return request.precision
    return "float16" if torch.device(request.device).type == "cuda" else "float32"


def _raft(request: BranchRequest) -> raft.Raft | None:
    path = request.options.get("raft")
    if path is None:
        if "iterations" in request.options:
            raise BadSetting("Branch spatial: iterations are RAFT's; give raft=PATH with them.")
        return None
    return raft.read(Path(path).expanduser(), raft_iterations(request))
