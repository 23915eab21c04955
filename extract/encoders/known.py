"""The encoders whose networks are our own: DINOv2 and DINO, CLIP, X-CLIP, EfficientNet-Lite0.

Legend: as in `extract.encoders.encoder`.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from extract.encoders.encoder import CLS, EMBEDDING, PROJECTED, TOKENS, Encoder
from extract.errors import BadWeights
from extract.networks import clip, dinov2, efficientnet, weights, xclip
from extract.networks.clip import ClipTower
from extract.networks.dinov2 import DinoV2
from extract.networks.efficientnet import EfficientNetLite0
from extract.networks.xclip import XClipTower
from extract.views.looks import CLIP_MEAN, CLIP_STD, LOOKS, Look

CLIPS = {
    "clip-b32": "ViT-B/32",
    "clip-b16": "ViT-B/16",
    "clip-l14": "ViT-L/14",
    "clip-tiny": "tiny",
}
EFFICIENTNET = "efficientnet-lite0"
PRESETS = (*dinov2.PRESETS, *CLIPS, *xclip.PRESETS, EFFICIENTNET)
_CLIP_LOOK = Look(mean=CLIP_MEAN, std=CLIP_STD)
_SEED = 3
Network = TypeVar("Network", bound=nn.Module)


class Dino(Encoder):
    """DINOv2 or DINO: everything is after the last norm."""

    def __init__(self, network: DinoV2, preset: str, source: str) -> None:
        super().__init__()
        self.network = network
        config = dinov2.PRESETS[preset]
        self._first = 1 + config.registers
        size = config.image
        self.look = replace(LOOKS["short"], height=size, width=size, short=size)
        self.architecture = asdict(config)
        self.source = source

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        tokens_bnd = self.network(images_bchw)
        return {CLS: tokens_bnd[:, 0], TOKENS: tokens_bnd[:, self._first :]}


class Clip(Encoder):
    """CLIP's tower: `cls` after its norm, `tokens` before any; projected, both after it."""

    look = _CLIP_LOOK

    def __init__(self, network: ClipTower, source: str) -> None:
        super().__init__()
        self.network = network
        self.architecture = network.config.described()
        self.source = source

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        tokens_bnd = self.network.tokens(images_bchw)
        found = {CLS: self.network.ln_post(tokens_bnd[:, 0]), TOKENS: tokens_bnd[:, 1:]}
        if self.network.proj is not None:
            projected_bne = self.network.projected(tokens_bnd)
            found |= {EMBEDDING: projected_bne[:, 0], PROJECTED: projected_bne[:, 1:]}
        return found


class XClip(Clip):
    """X-CLIP's tower, whose frames exchange messages; it was trained with ImageNet's statistics."""

    look = LOOKS["short"]

    def __init__(self, network: XClipTower, source: str) -> None:
        super().__init__(network, source)
        self.group = network.config.frames


class Lite(Encoder):
    """EfficientNet-Lite0: the last map's cells are the tokens, their mean is the vector."""

    look = LOOKS["short"]

    def __init__(self, network: EfficientNetLite0, source: str) -> None:
        super().__init__()
        self.network = network
        self.architecture = {"network": EFFICIENTNET}
        self.source = source
        self.layers = network.layers

    def layer_of(self, name: str) -> int:
        return self.network.layer_of(name.removeprefix("network."))

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        tokens_bpd = self.network(images_bchw).flatten(2).transpose(1, 2)
        return {CLS: tokens_bpd.float().mean(1), TOKENS: tokens_bpd}


def known_encoder(preset: str, path: Path | None) -> Encoder:
    """One of `PRESETS`; `tiny` ones have random numbers where no file is given."""
    random = path is None and preset.endswith("-tiny")
    source = weights.RANDOM if random else path.name if path else ""
    if preset == EFFICIENTNET:
        path = path or efficientnet.weights_path()
        return Lite(efficientnet.from_state(weights.read_state(path)), path.name)
    if path is None and not random:
        files = {**dinov2.FILES, **xclip.FILES}
        wanted = files.get(
            preset, f"the image tower of CLIP {CLIPS.get(preset)}, OpenAI's own file"
        )
        raise BadWeights(
            f"image={preset} needs weights: image={preset}:PATH, with {wanted}. Without weights "
            f"there is image={EFFICIENTNET}, whose numbers come with a package (extra `mini`)."
        )
    state = None if path is None else weights.read_state(path)
    if preset in CLIPS:
        return Clip(_clip(preset, state), source)
    if preset in xclip.PRESETS:
        return XClip(_xclip(preset, state), source)
    return Dino(_dino(preset, state), preset, source)


def _clip(preset: str, state: Mapping[str, Tensor] | None) -> ClipTower:
    config = clip.PRESETS[CLIPS[preset]]
    if state is None:
        return _random(ClipTower(config))
    tower = clip.from_state(state)
    if tower.config != config:
        found = next(name for name, known in CLIPS.items() if known == clip.name_of(tower.config))
        raise BadWeights(f"These weights are not {preset}; they look like preset {found}.")
    return tower


def _xclip(preset: str, state: Mapping[str, Tensor] | None) -> XClipTower:
    config = xclip.PRESETS[preset]
    if state is None:
        return _random(XClipTower(config))
    return xclip.from_state(state, config, preset)


def _dino(preset: str, state: Mapping[str, Tensor] | None) -> DinoV2:
    config = dinov2.PRESETS[preset]
    if state is None:
        return _random(DinoV2(config))
    return dinov2.from_state(state, config, preset)


def _random(network: Network) -> Network:
    weights.seeded(network, seed=_SEED)
    return network
