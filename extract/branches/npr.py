"""NPR: what up-sampling leaves between neighbouring pixels (Tan et al., CVPR 2024).

`npr=released:NPR.pth` is the network as its authors trained it, on crops of 224 x 224 that are
never resized and begin at even pixels; a smaller frame is tiled. `?look=npr-squashed` resizes the
whole frame to 256 x 256, as their test of ForenSynths does, which costs the traces.
`npr=residual` needs no weights: `shares`, how often neighbouring pixels differ by how much.
Outputs per frame: see `extract.encoders.frame_detector`.
"""

from dataclasses import replace

from extract.branch import BranchRequest
from extract.encoders.frame_detector import OPTIONS as OPTIONS
from extract.encoders.frame_detector import Feed, FrameDetector, Variant, load_detector, seen_as
from extract.networks.npr import Npr, Residual
from extract.views.looks import LOOKS

REVISION = 1
TRAINABLE = ("npr",)
_LOOKS = seen_as("npr", "npr-squashed")
_SMALL = replace(LOOKS["npr"], height=48, width=48)
_LEVELS = replace(LOOKS["npr"], mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))
_VARIANTS = {
    "released": Variant(
        make=Npr,
        feeds=_LOOKS,
        file="NPR.pth or model_epoch_last_3090.pth of chuangchuangtan/NPR-DeepfakeDetection",
    ),
    "residual": Variant(make=Residual, feeds={"npr": Feed(look=_LEVELS)}),
    "tiny": Variant(make=lambda: Npr(width=8), feeds={"npr": Feed(look=_SMALL)}),
}


def load(request: BranchRequest) -> FrameDetector:
    return load_detector(request, _VARIANTS, REVISION)
