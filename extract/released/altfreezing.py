"""A released AltFreezing checkpoint (or FTCN's network under the same names), checked and kept.

The network says itself whether a window is forged, by its last linear layer: nothing but that is
put into a head. Wrappers and prefixes are taken off; every tensor must be there and fit.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from extract.branches.altfreezing import PRESETS
from extract.errors import BadWeights
from extract.networks import resnet3d, weights
from extract.networks.resnet3d import ResNet3d
from features_store.commit import write_file

SCHEME = "hfv2"
_STEM, _HEAD = "resnet.s1.pathway0_stem.conv.weight", "resnet.head.projection"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImportedFaces:
    """What was in a checkpoint."""

    preset: str
    model: ResNet3d

    @property
    def weight(self) -> Tensor:
        """(1, d): of the layer that gives a window's logit."""
        return self.model.get_parameter(f"{_HEAD}.weight").detach()

    @property
    def bias(self) -> Tensor:
        return self.model.get_parameter(f"{_HEAD}.bias").detach()

    @property
    def file(self) -> str:
        return f"altfreezing-{self.preset}.safetensors"


def is_altfreezing(state: weights.State) -> bool:
    return any(key.endswith(f"{_HEAD}.weight") for key in state)


def import_faces(state: weights.State) -> ImportedFaces:
    """Of the preset that has its width."""
    stem = resnet3d.official_names(state).get(_STEM)
    width = 0 if stem is None else len(stem)
    for name, preset in PRESETS.items():
        if preset.width == width:
            model = resnet3d.from_state(
                state, width=width, frames=preset.frames, image=preset.image
            )
            return ImportedFaces(preset=name, model=model)
    have = ", ".join(str(preset.width) for preset in PRESETS.values())
    raise BadWeights(f"{_STEM} has {width} channels; known are networks of {have}.")


def save_faces(imported: ImportedFaces, out: Path, source: str) -> list[Path]:
    """Write the network's weights and a description into a new folder."""
    state = {key: value.contiguous() for key, value in imported.model.state_dict().items()}
    write_file(out / imported.file, [save(state)])
    description = {
        "source": source, "scheme": SCHEME,
        "branches": {
            "altfreezing": {"preset": imported.preset, "weights": weights.content_hash(state)}
        },
    }  # fmt: skip
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    write_file(out / "import.json", [text.encode()])
    return [out / imported.file, out / "import.json"]
