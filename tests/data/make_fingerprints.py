"""Makes `fingerprints.json`: by which fingerprints stores know the branches' outputs.

Weights are left out (they differ between presets, and have a test of their own), so a fingerprint
here changes when a term is dropped from a branch's `decides`, added to it, or changed. Then stores
written before are not gone on with. Where the numbers really change that is right: raise the
branch's revision and run `python -m tests.data.make_fingerprints`.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extract.branch import Branch, BranchRequest, load_branch

FILE = Path(__file__).with_name("fingerprints.json")
ASKED = (
    "anatomy=tiny?boxes=whole-person",
    "appearance=colours",
    "appearance=dinov2-tiny",
    "appearance=dinov2-tiny?clip=tiny",
    "depthpro=tiny",
    "frames=rgb",
    "image=clip-tiny?outputs=cls,tokens,tokens:4x4,tokens-projected,steps,roughness,velocity",
    "image=dinov2-tiny",
    "image=xclip-tiny?look=d3&frames=16",
    "internvideo2=tiny?outputs=cls,avg,attn,tokens,tokens:4x4,tokens@2",
    "motion=dis",
    "motion=raft-tiny",
    "spatial=dis",
)


def fingerprints(asked: str) -> dict[str, str]:
    """Output → fingerprint, as if the weights were the same everywhere."""
    branch: Branch = copy.copy(load_branch(BranchRequest.parse(asked)))
    branch.decides = without_weights(branch.decides)
    return branch.offer.fingerprints


def without_weights(decides: Mapping[str, Any]) -> dict[str, Any]:
    """The same description with every hash of weights replaced."""
    return {
        name: without_weights(value)
        if isinstance(value, Mapping)
        else "weights"
        if name == "weights"
        else value
        for name, value in decides.items()
    }


def main() -> None:
    found = {asked: fingerprints(asked) for asked in ASKED}
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
