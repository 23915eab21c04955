"""A bundle of a released AltFreezing checkpoint, whose windows get the checkpoint's own scores.

Its linear layer gives one logit z; a head of two classes with z/2 and -z/2 gives sigmoid(z).
"""

from dataclasses import asdict
from pathlib import Path

import torch

from extract.branch import BranchRequest, load_branch
from extract.encoders.branch_parts import PRESENT
from extract.manifest.labels import label_scheme
from extract.released.altfreezing import SCHEME, ImportedFaces
from heads.bundle import Bundle
from heads.parts import arrays
from heads.parts.about import About
from heads.zoo.linear import Linear, LinearConfig

_VECTOR, _PRESENT = "altfreezing/vector", f"altfreezing/{PRESENT}"


def imported_faces_bundle(
    imported: ImportedFaces, folder: Path, source: str, options: str
) -> Bundle:
    """`folder` holds the weights that `save_faces` wrote; `options` are the branch's."""
    scheme = label_scheme(SCHEME)
    config = LinearConfig(arrays=f"{_VECTOR},{_PRESENT}", rank_loss=False)
    head = Linear(config, scheme.classes)
    signs = torch.tensor([1.0 if name != "real" else -1.0 for name in scheme.classes])
    width = imported.weight.shape[1]
    learnt = {
        "mean": torch.zeros(width), "scale": torch.ones(width),
        "weight": signs[:, None] * imported.weight / 2, "bias": signs * imported.bias / 2,
    }  # fmt: skip
    arrays.save_tensors(folder / "head.safetensors", learnt)
    head.load(folder)
    asked = f"altfreezing={imported.preset}"
    branch = load_branch(BranchRequest.parse(f"{asked}:{folder / imported.file}?{options}"))
    prints = branch.offer.fingerprints
    about = About(
        head=head.name,
        config=asdict(config),
        scheme=scheme.name,
        classes=scheme.classes,
        protocol=f"windows-16x{imported.model.frames}",
        fingerprints={key: prints[key.partition("/")[2]] for key in head.keys},
        branches={"altfreezing": f"{asked}?{options}"},
        provenance={"checkpoint": source, "trained by": "the released AltFreezing code"},
    )
    return Bundle(head, about)
