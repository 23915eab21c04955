"""GenConViT: a face and its reconstruction through ConvNeXt (Wodajo et al., arXiv 2307.07036).

`genconvit=ed:genconvit_ed_inference.pth` and `genconvit=vae:genconvit_vae_inference.pth` are its
two networks. They were trained on faces that were cut out: give videos of such faces; a whole frame
is made 224 x 224, whatever its shape. `logit` has two numbers, for fake and for real; the released
code takes the sigmoid of each and averages over faces and networks.
Of `vae`, `?noise=` scatters codes as `released` (by a deviation from the wrong layer), as `meant`,
or not at all (`none`). The released code draws anew each time; here every face gets the same draw.
Checkpoints hold a Swin network that the released code never runs. `?swin=meant` adds what it says,
through the projection beside it: the paper's network, for training; no released weights know it.
Outputs per frame: see `extract.encoders.frame_detector`.
"""

from dataclasses import replace

from extract.branch import BranchRequest
from extract.encoders.frame_detector import Feed, FrameDetector, Variant, load_detector, seen_as
from extract.networks.convnext import ConvNextConfig
from extract.networks.genconvit import NOISES, Autoencoded, Noise, Sampled, released_names
from extract.networks.swin import SwinConfig
from extract.networks.weights import State
from extract.views.looks import LOOKS

REVISION = 1
TRAINABLE = ("genconvit",)
OPTIONS = ("dtype", "frames", "look", "noise", "swin")
_WHERE = "of Deressa/GenConViT on Hugging Face"
_SMALL = ConvNextConfig(depths=(1, 1, 1, 1), widths=(8, 12, 16, 24), classes=40)
_SIDE = 64
_SMALL_SWIN = SwinConfig(
    size=_SIDE, depths=(1, 2), heads=(1, 2), width=8, window=4, classes=_SMALL.classes
)
_TINY = {"genconvit": Feed(look=replace(LOOKS["genconvit"], height=_SIDE, width=_SIDE))}


def load(request: BranchRequest) -> FrameDetector:
    noise = next(each for each in NOISES if each == request.option("noise", NOISES[0], NOISES))
    hybrid = request.option("swin", "released", ("released", "meant")) == "meant"
    options = OPTIONS if "vae" in request.preset else tuple(o for o in OPTIONS if o != "noise")
    return load_detector(request, _variants(noise, hybrid=hybrid), REVISION, options)


def _variants(noise: Noise, *, hybrid: bool) -> dict[str, Variant]:
    whole, small = (SwinConfig(), _SMALL_SWIN) if hybrid else (None, None)

    def ours(state: State) -> State:
        return released_names(state, noise, swin=hybrid)

    return {
        "ed": Variant(
            make=lambda: Autoencoded(ConvNextConfig(), whole), feeds=seen_as("genconvit"),
            ours=ours, file=f"genconvit_ed_inference.pth {_WHERE}",
        ),
        "vae": Variant(
            make=lambda: Sampled(ConvNextConfig(), noise=noise, swin=whole),
            feeds=seen_as("genconvit"), ours=ours, file=f"genconvit_vae_inference.pth {_WHERE}",
        ),
        "tiny": Variant(make=lambda: Autoencoded(_SMALL, small), feeds=_TINY, ours=ours),
        "tiny-vae": Variant(
            make=lambda: Sampled(_SMALL, _SIDE, noise, small), feeds=_TINY, ours=ours
        ),
    }  # fmt: skip
