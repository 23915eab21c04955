"""CNNDetection: a ResNet-50 that learnt from ProGAN's pictures (Wang et al., CVPR 2020).

`cnndet=released:blur_jpg_prob0.5.pth` looks at the middle 224 x 224 of a frame, not resized, with
black around a smaller one. `?look=cnndet-256` makes the short side 256 first, as its training does:
its authors' advice for small pictures. Outputs per frame: see `extract.encoders.frame_detector`.
"""

from dataclasses import replace

from extract.branch import BranchRequest
from extract.encoders.frame_detector import OPTIONS as OPTIONS
from extract.encoders.frame_detector import Feed, FrameDetector, Variant, load_detector, seen_as
from extract.networks.resnet import ResNet, ResNetConfig
from extract.views.looks import LOOKS

REVISION = 1
TRAINABLE = ("cnndet",)
_SMALL = replace(LOOKS["cnndet"], height=64, width=64)
_VARIANTS = {
    "released": Variant(
        make=lambda: ResNet(ResNetConfig()),
        feeds=seen_as("cnndet", "cnndet-256"),
        file="blur_jpg_prob0.5.pth or blur_jpg_prob0.1.pth of PeterWang512/CNNDetection",
    ),
    "tiny": Variant(
        make=lambda: ResNet(ResNetConfig(blocks=(1, 1, 1, 1), width=8)),
        feeds={"cnndet": Feed(look=_SMALL)},
    ),
}


def load(request: BranchRequest) -> FrameDetector:
    return load_detector(request, _VARIANTS, REVISION)
