"""The branches that the contract suites are run over, and how to ask for them."""

from extract.branch import Branch, BranchRequest, branch_names, load_branch

SCORERS = {"appearance": "colours", "motion": "dis", "spatial": "dis"}
SMALL = {**SCORERS, "frames": "rgb"}
"""Presets that need no weights; `tiny` where nothing else is said."""
WITHOUT = [f"{name}={preset}" for name, preset in SMALL.items()]
NETWORKS = [f"{name}=tiny" for name in branch_names() if name not in SMALL]
NETWORKS += ["appearance=dinov2-tiny"]
NETWORK = ("precision=bfloat16", "dtype=float32")
SCORER = ("pairs=4", "dtype=float16")
QUERIES = {
    "internvideo2=tiny": (*NETWORK, "gelu=erf"),
    "depthpro=tiny": (*NETWORK, "source=full-frame"),
    "appearance=dinov2-tiny": ("precision=bfloat16", "clip=tiny", *SCORER),
    **{f"{name}={preset}": SCORER for name, preset in SCORERS.items()},
    "frames=rgb": (),
}
"""Options that change what a branch says."""


def load(asked: str, query: str = "", device: str = "cpu") -> Branch:
    request = BranchRequest.parse(f"{asked}?{query}" if query else asked)
    return load_branch(
        BranchRequest(
            name=request.name, preset=request.preset, options=request.options, device=device,
            precision=request.precision,
        )
    )  # fmt: skip


def asked(branch: Branch) -> str:
    return f"{branch.name}={branch.preset}"
