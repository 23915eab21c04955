"""The branches that the contract suites are run over, and how to ask for them."""

from dataclasses import replace
from pathlib import Path

from extract.branch import Branch, BranchRequest, branch_names, load_branch
from tests.test_extract import faces
from tests.test_extract.folders import folder

SCORERS = {"appearance": "colours", "motion": "dis", "spatial": "dis"}
SMALL = {**SCORERS, "faces": "rgb", "frames": "rgb"}
"""Presets that need no weights; `tiny` where nothing else is said."""
WITHOUT = [f"{name}={preset}" for name, preset in SMALL.items()] + ["npr=residual"]
FRAME_DETECTORS = ("cnndet", "f3net", "genconvit", "npr", "patchcraft")
"""Branches of detectors that judge single frames."""
ENCODERS = ("dinov2-tiny", "clip-tiny", "xclip-tiny", "hf:ViT")
ON_FRAMES = [*(f"image={encoder}" for encoder in ENCODERS), "video=hf:VideoMAE"]
NETWORKS = [f"{n}=tiny" for n in branch_names() if n not in (*SMALL, "image", "video")]
NETWORKS += ["appearance=dinov2-tiny", *ON_FRAMES]
TRAINABLE = {
    "internvideo2=tiny": "precision=float32",
    "altfreezing=tiny": "precision=float32",
    "anatomy=tiny": "precision=float32&dtype=float32&size=32&frames=3",
    "image=efficientnet-lite0": "precision=float32&size=64&frames=3",
    **{f"{name}=tiny": "precision=float32&frames=3" for name in FRAME_DETECTORS},
}
"""Those whose networks can be trained, with options that keep them small."""
NETWORK = ("precision=bfloat16", "dtype=float32")
SAYS = {"internvideo2": "made-up people", "depthpro": "made-up people"}
"""Where a branch's weights are from, if they are neither a file's nor random."""
WINDOWS = ("first=7", "warp=opencv5")
SCORER = ("pairs=4", "dtype=float16")
JUDGES = ("precision=bfloat16", "dtype=float16")
QUERIES = {
    "internvideo2=tiny": (*NETWORK, "random=true", "gelu=erf"),
    "depthpro=tiny": (*NETWORK, "random=true", "source=full-frame"),
    "appearance=dinov2-tiny": ("precision=bfloat16", "clip=tiny", *SCORER),
    **{f"{name}={preset}": SCORER for name, preset in SCORERS.items()},
    "anatomy=tiny": (*NETWORK, "colour=bgr", "size=96", "abnormal=1", "hands=2"),
    "frames=rgb": (),
    "faces=rgb": (*WINDOWS, "side=32&frames=10"),
    "altfreezing=tiny": ("precision=bfloat16", "dtype=float16", *WINDOWS, "frames=10"),
    **dict.fromkeys([f"{name}=" for name in FRAME_DETECTORS], JUDGES),
    **dict.fromkeys(ON_FRAMES, ("precision=bfloat16", "dtype=float16", "look=d3")),
}
"""Options that change what a branch says."""
NEEDED = {
    "anatomy": lambda: {"boxes": "whole-person"},
    "altfreezing": lambda: {"boxes": str(faces.boxes())},
    "faces": lambda: {"boxes": str(faces.boxes()), "side": "16", "frames": "8"},
}
"""Options without which a branch is none."""


def load(asked: str, query: str = "", device: str = "cpu") -> Branch:
    """`hf:KIND` is a small folder of that kind; who looks at people is told where they are."""
    _, _, kind = asked.partition("=hf:")
    name = asked.partition("=")[0]
    if kind:
        asked = f"{name}=hf:{kind if Path(kind).is_dir() else folder(kind)}"
    request = BranchRequest.parse(f"{asked}?{query}" if query else asked)
    needed = NEEDED[name]() if name in NEEDED else {}
    return load_branch(replace(request, device=device, options={**needed, **request.options}))


def asked(branch: Branch) -> str:
    """What it was loaded by, without options."""
    weights = branch.request.weights
    return f"{branch.name}={branch.preset}" + (f":{weights}" if weights else "")


def queries_of(branch: Branch) -> tuple[str, ...]:
    own = f"{branch.name}={branch.preset}"
    return next((found for text, found in QUERIES.items() if _is_of(own, text)), NETWORK)


def _is_of(own: str, text: str) -> bool:
    """Whether options are this branch's: those of a preset, or of all of its presets."""
    return own.startswith(text) if text.endswith("=") else text.startswith(own)
