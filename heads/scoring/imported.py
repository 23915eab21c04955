"""A bundle of a released HumanSAM checkpoint, that scores as the checkpoint does."""

from dataclasses import asdict
from pathlib import Path

from extract.branch import Branch, BranchRequest, load_branch
from extract.manifest.labels import label_scheme
from extract.released.humansam import Imported
from heads.bundle import Bundle
from heads.parts.about import About
from heads.parts.fusion_net import Layout
from heads.zoo.fusion import Fusion, FusionConfig, FusionModel

PROTOCOL = "test-4x3"
"""How the released code tests."""


def imported_bundle(imported: Imported, folder: Path, source: str, precision: str) -> Bundle:
    """`folder` holds the branch weights that `save_imported` wrote."""
    scheme = label_scheme(imported.scheme)
    head = Fusion(FusionConfig(alpha="free"), scheme.classes)
    tensors = {name: tensor.float().clone() for name, tensor in imported.head.items()}
    hidden, video = tensors["fc1.weight"].shape
    attn = len(tensors["fc_norm.weight"])
    layout = Layout(width=(video - attn) // 2, attn=attn, depth=hidden, hidden=hidden)
    head.model = FusionModel(head.config, layout, tensors)
    requests = {
        "internvideo2": f"internvideo2={imported.video_preset}",
        "depthpro": f"depthpro={imported.depth_preset}",
    }
    branches = {name: _load(request, folder, precision) for name, request in requests.items()}
    about = About(
        head=head.name,
        config=asdict(head.config),
        scheme=scheme.name,
        classes=scheme.classes,
        protocol=PROTOCOL,
        fingerprints={
            f"{branch.name}/{output}": one
            for branch in branches.values()
            for output, one in branch.offer.fingerprints.items()
        },
        branches={name: f"{request}?precision={precision}" for name, request in requests.items()},
        provenance={
            "checkpoint": source,
            "trained by": "the released HumanSAM code",
            "detector": "humansam",
        },
    )
    return Bundle(head, about)


def _load(request: str, folder: Path, precision: str) -> Branch:
    name, _, preset = request.partition("=")
    path = folder / f"{name}-{preset}.safetensors"
    return load_branch(BranchRequest.parse(f"{request}:{path}?precision={precision}"))
