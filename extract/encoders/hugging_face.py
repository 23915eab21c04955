"""Any image or video encoder out of a local Hugging Face folder.

Legend: b images or clips, p patches, t times, n tokens, c channels, h w height and width,
d channels of the encoder.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from extract.encoders.encoder import CLS, TOKENS, Encoder
from extract.encoders.preprocessing import read_look
from extract.errors import BadWeights
from extract.networks.hugging_face import folder_config, loaded, require_transformers
from extract.views.looks import Look

_WANTED = "give a folder with config.json, model.safetensors and preprocessor_config.json"
_OWN = ("xclip",)
"""Model types that the folder's own class cannot look at frame by frame."""
_CLIPS = {"videomae": "time", "timesformer": "patch", "vjepa2": "time", "vivit": "time"}
"""Video models: which of time and patch their tokens are sorted by first."""
_NOT_DECIDING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
_VIDEO_INPUT = {"vjepa2": "pixel_values_videos"}


class HuggingFaceImages(Encoder):
    """An image encoder; its `cls` is its own pooled vector, or its class token, or the mean."""

    def __init__(self, network: nn.Module, look: Look, source: str, *, pooled: bool) -> None:
        super().__init__()
        self.network = network
        self.look = look
        self.architecture = _architecture(network)
        self.source = source
        self._pooled = pooled

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        found = self.network(pixel_values=images_bchw)
        hidden = found.last_hidden_state
        if hidden.ndim == 4:  # a convolutional network's map
            hidden = hidden.flatten(2).transpose(1, 2)
        patches = math.isqrt(hidden.shape[1]) ** 2
        before = hidden.shape[1] - patches
        pooled = found.get("pooler_output") if self._pooled else None
        if pooled is None:
            pooled = hidden[:, 0] if before else hidden.mean(1)
        return {CLS: pooled.flatten(1), TOKENS: hidden[:, before:]}


class HuggingFaceClips(nn.Module):
    """A video encoder: clips of a fixed number of frames → a vector, and tokens by time."""

    def __init__(self, network: nn.Module, look: Look, source: str) -> None:
        super().__init__()
        self.network = network
        self.look = look
        self.architecture = _architecture(network)
        self.source = source
        config: Any = network.config
        self.kind = str(config.model_type)
        frames: Any = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", 16)
        self.frames = int(frames)
        tubelet = getattr(config, "tubelet_size", 1)
        self.times = self.frames // (tubelet[0] if isinstance(tubelet, (list, tuple)) else tubelet)

    def forward(self, clips_btchw: Tensor) -> dict[str, Tensor]:
        """`cls` (b, d): the class token, or the mean of all; `tokens` (b, t, p, d)."""
        given = {_VIDEO_INPUT.get(self.kind, "pixel_values"): clips_btchw}
        more = {"skip_predictor": True} if self.kind == "vjepa2" else {}
        hidden = self.network(**given, **more).last_hidden_state
        before = hidden.shape[1] % self.times
        grid = hidden[:, before:]
        if _CLIPS[self.kind] == "time":
            tokens = grid.unflatten(1, (self.times, -1))
        else:
            tokens = grid.unflatten(1, (-1, self.times)).transpose(1, 2)
        cls = hidden[:, 0] if before else hidden.float().mean(1)
        return {CLS: cls, TOKENS: tokens}

    @torch.no_grad()
    def shapes(self) -> dict[str, tuple[int, ...]]:
        clips = torch.zeros(1, self.frames, 3, self.look.height, self.look.width)
        return {name: tuple(found.shape[1:]) for name, found in self.eval()(clips).items()}


def image_encoder(folder: Path | None, look: Look | None = None) -> HuggingFaceImages:
    """What `image=hf:FOLDER` means; a given look replaces the folder's own."""
    folder = _folder("image", folder)
    kind = folder_config(folder, _WANTED).get("model_type")
    if kind in _OWN or kind in _CLIPS:
        other = "image=xclip-b16:FILE" if kind in _OWN else f"video=hf:{folder}"
        raise BadWeights(f"{folder} holds a {kind!r}, whose frames go together: ask for {other}.")
    what = f"image encoder ({kind})"
    require_transformers(f"image=hf:{folder}")
    network, lacking = loaded(
        folder, "AutoModel", what, may_lack=("pooler.", "vision_model.pooler")
    )
    network = getattr(network, "vision_model", network)
    own, known = (_sized(look, network), "by name") if look else read_look(folder)
    source = f"{folder.name} ({kind}; preprocessing: {known})"
    return HuggingFaceImages(network, own, source, pooled=not lacking)


def clip_encoder(folder: Path | None, look: Look | None = None) -> HuggingFaceClips:
    """What `video=hf:FOLDER` means."""
    folder = _folder("video", folder)
    kind = folder_config(folder, _WANTED).get("model_type")
    if kind not in _CLIPS:
        have = ", ".join(_CLIPS)
        raise BadWeights(f"{folder} holds a {kind!r}; video encoders that are known: {have}.")
    require_transformers(f"video=hf:{folder}")
    network, _ = loaded(folder, "AutoModel", f"video encoder ({kind})")
    own, known = (_sized(look, network), "by name") if look else read_look(folder)
    return HuggingFaceClips(network, own, f"{folder.name} ({kind}; preprocessing: {known})")


def _folder(branch: str, folder: Path | None) -> Path:
    if folder is None or not folder.is_dir():
        raise BadWeights(f"{branch}=hf:{folder or 'FOLDER'}: {_WANTED}.")
    return folder


def _sized(look: Look, network: nn.Module) -> Look:
    """At the size that the network takes."""
    size = getattr(network.config, "image_size", None) or getattr(network.config, "crop_size", 224)
    return replace(look, height=size, width=size, short=size) if isinstance(size, int) else look


def _architecture(network: nn.Module) -> Mapping[str, Any]:
    """What of the folder's settings decides numbers; where it lay and what wrote it do not."""
    config: Any = network.config
    told = config.to_diff_dict()
    return {key: value for key, value in told.items() if key not in _NOT_DECIDING}
