"""A released HumanSAM checkpoint, taken apart into branch weights and head weights.

The checkpoint holds `model1.*` (InternVideo2), `model2.*` (Depth Pro's encoder), `fc1`, `alpha` and
`head`, all in float16. The fused vector's first 2E numbers are interleaved there (c0 of cls, c0 of
avg, c1 of cls, …); here `fc1`'s columns are put in the order cls, avg, attn.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from extract.branches import depthpro, internvideo2
from extract.errors import BadWeights
from extract.networks import weights
from features_store.commit import write_file

SCHEMES = {4: "hfv4", 2: "hfv2"}
_HEAD = re.compile(r"(fc1\.(weight|bias)|alpha|head\.(weight|bias))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was in a checkpoint."""

    video_preset: str
    video: Mapping[str, Tensor]
    depth_preset: str
    depth: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    """fc1.weight (columns cls, avg, attn), fc1.bias, alpha, classes.*, down_norm.*, fc_norm.*."""

    @property
    def scheme(self) -> str:
        return SCHEMES[len(self.head["classes.bias"])]


def import_checkpoint(path: Path) -> Imported:
    """Read and take apart; every key is accounted for."""
    state = {key: value.float() for key, value in weights.read_state(path).items()}
    video = {key: value for key, value in state.items() if key.startswith("model1.")}
    depth = {key: value for key, value in state.items() if key.startswith("model2.")}
    head = {key: value for key, value in state.items() if _HEAD.fullmatch(key)}
    left = sorted(set(state) - set(video) - set(depth) - set(head))
    if not video or not depth or len(head) != 5 or left:
        raise BadWeights(
            f"{path} is no HumanSAM checkpoint: it has {len(video)} tensors of model1, "
            f"{len(depth)} of model2, {', '.join(sorted(head)) or 'no head'}"
            f"{f', and unknown ones: {left[:5]}' if left else ''}. Give the file that HumanSAM's "
            f"training saves, with model1.*, model2.*, fc1.*, alpha and head.*."
        )
    video_preset, model, norms = _video(video)
    depth_preset, encoder = _depth(depth)
    return Imported(
        video_preset=video_preset,
        video=model.state_dict(),
        depth_preset=depth_preset,
        depth=encoder.state_dict(),
        head=_fusion_head(head, norms, model.architecture.width),
    )


def save_imported(imported: Imported, out: Path, source: str) -> list[Path]:
    """Write branch weights, head weights and a description into a new folder."""
    files = {
        f"internvideo2-{imported.video_preset}.safetensors": imported.video,
        f"depthpro-{imported.depth_preset}.safetensors": imported.depth,
        "head.safetensors": imported.head,
    }
    description = {
        "source": source,
        "scheme": imported.scheme,
        "branches": {
            "internvideo2": {
                "preset": imported.video_preset,
                "weights": weights.content_hash(imported.video),
            },
            "depthpro": {
                "preset": imported.depth_preset,
                "weights": weights.content_hash(imported.depth),
            },
        },
        "columns of fc1": ["cls", "avg", "attn"],
    }
    for name, state in files.items():
        tensors = {key: value.contiguous() for key, value in state.items()}
        write_file(out / name, [save(tensors)])
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    write_file(out / "import.json", [text.encode()])
    return [out / name for name in (*files, "import.json")]


def columns_by_vector(fc1_weight: Tensor, width: int) -> Tensor:
    """Columns c0 cls, c0 avg, c1 cls, … , attn → cls, avg, attn."""
    interleaved, attn = fc1_weight[:, : 2 * width], fc1_weight[:, 2 * width :]
    return torch.cat([interleaved[:, 0::2], interleaved[:, 1::2], attn], 1)


def _video(state: weights.State) -> tuple[str, internvideo2.InternVideo2, weights.State]:
    token = state.get("model1.cls_token")
    width = token.shape[-1] if token is not None else 0
    depth = len({key.split(".")[2] for key in state if key.startswith("model1.blocks.")})
    for name, architecture in internvideo2.PRESETS.items():
        if (architecture.width, architecture.depth) == (width, depth):
            model, norms = internvideo2.from_state(state, architecture, name)
            return name, model, norms
    raise BadWeights(f"model1 has width {width} and {depth} blocks: no InternVideo2 preset.")


def _depth(state: weights.State) -> tuple[str, depthpro.DepthProEncoder]:
    token = next((v for k, v in state.items() if k.endswith("patch_encoder.cls_token")), None)
    width = token.shape[-1] if token is not None else 0
    for name, architecture in depthpro.PRESETS.items():
        if architecture.width == width:
            return name, depthpro.from_state(state, architecture)
    raise BadWeights(f"model2 has width {width}: no Depth Pro preset.")


def _fusion_head(head: weights.State, norms: weights.State, width: int) -> weights.State:
    classes = len(head["head.bias"])
    columns = head["fc1.weight"].shape[1]
    attn = len(norms.get("fc_norm.weight", []))
    if classes not in SCHEMES or columns != 2 * width + attn:
        raise BadWeights(
            f"The head has {classes} classes and fc1 {columns} columns; known are 2 or 4 classes "
            f"and, for these branches, {2 * width + attn} columns."
        )
    kept = {k: v for k, v in norms.items() if k.startswith(("down_norm.running", "fc_norm."))}
    return {
        "fc1.weight": columns_by_vector(head["fc1.weight"], width),
        "fc1.bias": head["fc1.bias"],
        "alpha": head["alpha"].reshape(1),
        "classes.weight": head["head.weight"],
        "classes.bias": head["head.bias"],
        **kept,
    }
