"""F3Net: forgeries by frequency (Qian et al., ECCV 2020), in three forms.

`f3net=fad:f3net_best.pth` is DeepfakeBench's detector, bands of a frame through an Xception.
`f3net=mix:FILE` is the paper's whole, of weights that you trained. `f3net=lfs` needs no weights:
`means`, the 100 means of log|DCT| of small windows; a linear layer on them is the paper's learnt
filter. Frames are cropped and never resized, tiled where they are too small; `?look=f3net-faces`
resizes whole frames, for videos of faces that were cut out.
Outputs per frame: see `extract.encoders.frame_detector`.
"""

from dataclasses import replace

from extract.branch import BranchRequest
from extract.encoders.frame_detector import OPTIONS as OPTIONS
from extract.encoders.frame_detector import Feed, FrameDetector, Variant, load_detector
from extract.networks.f3net import BandDetector, EnergyMeans, TwoViews, released_names
from extract.views.looks import LOOKS

REVISION = 1
TRAINABLE = ("f3net",)
_TINY = 64


def _feeds(size: int) -> dict[str, Feed]:
    names = ("f3net", "f3net-faces")
    return {name: Feed(look=replace(LOOKS[name], height=size, width=size)) for name in names}


_VARIANTS = {
    "fad": Variant(
        make=BandDetector, feeds=_feeds(256), file="f3net_best.pth of SCLBD/DeepfakeBench",
        ours=released_names,
    ),
    "mix": Variant(
        make=TwoViews, feeds=_feeds(299), file="weights that you trained: nobody published any"
    ),
    "lfs": Variant(make=EnergyMeans, feeds=_feeds(299)),
    "tiny": Variant(make=lambda: BandDetector(size=_TINY, divisor=32), feeds=_feeds(_TINY)),
}  # fmt: skip


def load(request: BranchRequest) -> FrameDetector:
    return load_detector(request, _VARIANTS, REVISION)
