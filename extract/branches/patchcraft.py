"""PatchCraft: a frame's flattest places against its busiest (Zhong et al., arXiv 2311.12397).

`patchcraft=released:RPTC.pth` draws 192 crops of 32 x 32 from every frame, at places that follow
from the frame's size and its number in the video (see `extract.views.patches`), puts 64 of them to
each of two pictures, and judges how these differ. Nothing is resized.
Outputs per frame: see `extract.encoders.frame_detector`.
"""

from extract.branch import BranchRequest
from extract.encoders.frame_detector import Feed, FrameDetector, Variant, load_detector
from extract.networks.patchcraft import PatchCraft, released_names
from extract.views.looks import Look
from extract.views.patches import SEED, SIDE, SMASH

REVISION = 1
TRAINABLE = ("patchcraft",)
OPTIONS = ("dtype", "frames")


def _feed(grid: int) -> dict[str, Feed]:
    """Levels in 0…1."""
    look = Look(
        height=2 * grid * SIDE, width=grid * SIDE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    return {"patchcraft": Feed(look=look, function=SMASH, options={"grid": grid, "seed": SEED})}


_VARIANTS = {
    "released": Variant(
        make=PatchCraft, feeds=_feed(8), ours=released_names,
        file="RPTC.pth (its test code is aemilia/AIGCDetectionBenchMark on ModelScope)",
    ),
    "tiny": Variant(make=lambda: PatchCraft(width=8), feeds=_feed(1)),
}  # fmt: skip


def load(request: BranchRequest) -> FrameDetector:
    return load_detector(request, _VARIANTS, REVISION, OPTIONS)
