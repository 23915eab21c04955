"""GenConViT (Wodajo et al., arXiv 2307.07036): a face and its reconstruction through ConvNeXt.

Two networks: `Autoencoded` reconstructs by an autoencoder, `Sampled` by a variational one. Names
are the released checkpoints'. The Swin network in them is never run there; `Hybrid` runs it, as the
paper means it to be, but nobody has trained that.
Legend: b faces, c channels, h height, w width, d numbers of a face, z of a code.
"""

import math
from dataclasses import asdict
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.networks.convnext import ConvNext, ConvNextConfig
from extract.networks.frame_network import CLS, LOGIT, FrameNetwork
from extract.networks.swin import Swin, SwinConfig
from extract.networks.weights import State, without_prefix

Noise = Literal["released", "meant", "none"]
"""How codes are scattered about their means: by a deviation that the layer of the means gives, as
released; by one from the layer of variances, as it was meant; or not at all."""
NOISES: tuple[Noise, ...] = ("released", "meant", "none")
_SEED = 5
_CODED = 256
"""Channels of what decoders begin with."""
_UNUSED = ("embedder.", "fc3.", "encoder.fc1.", "encoder.fc2.")
_SWIN = ("backbone.patch_embed.", "convnext_backbone.patch_embed.")
"""Entries of the released checkpoints on which no output depends there."""


class Features(nn.Module):
    """Layers one after the other, under the name that checkpoints have them by."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)

    def forward(self, x_bchw: Tensor) -> Tensor:
        found: Tensor = self.features(x_bchw)
        return found


class Embedding(nn.Module):
    """Swin's numbers of a picture, as many as ConvNeXt's."""

    def __init__(self, config: SwinConfig, width: int) -> None:
        super().__init__()
        self.backbone = Swin(config)
        self.proj = nn.Conv2d(config.classes, width, 1)

    def forward(self, images_bchw: Tensor) -> Tensor:
        size = (self.backbone.size, self.backbone.size)
        if images_bchw.shape[-2:] != size:
            images_bchw = functional.interpolate(images_bchw, size=size, mode="bilinear")
        found: Tensor = self.proj(self.backbone(images_bchw)[..., None, None])
        return found.flatten(1)


class Hybrid(ConvNext):
    """ConvNeXt's pooled numbers and Swin's, added, before what names classes."""

    def __init__(self, config: ConvNextConfig, swin: SwinConfig) -> None:
        super().__init__(config)
        self.patch_embed = Embedding(swin, config.widths[-1])

    def pooled(self, images_bchw: Tensor) -> Tensor:
        added: Tensor = self.patch_embed(images_bchw)
        return super().pooled(images_bchw) + added


def _backbone(config: ConvNextConfig, swin: SwinConfig | None) -> ConvNext:
    return ConvNext(config) if swin is None else Hybrid(config, swin)


class FaceJudge(FrameNetwork):
    """What both networks end with: `logit` is (b, 2), fake and real, each for itself."""

    last = "fc2"

    def __init__(self, config: ConvNextConfig, swin: SwinConfig | None, **more: object) -> None:
        both = {} if swin is None else {"swin": asdict(swin)}
        super().__init__({**asdict(config), **both, **more})
        self.fc = nn.Linear(2 * config.classes, config.classes // 2)
        self.fc2 = nn.Linear(config.classes // 2, 2)

    def layer_of(self, name: str) -> int:
        """0 what reconstructs and the stem, then ConvNeXt's stages, its head, the last layers."""
        if name.startswith(("fc.", "fc2.")):
            return 6
        _, _, rest = name.partition("backbone.")
        if rest.startswith("stages."):
            return int(rest.split(".")[1]) + 1
        return 5 if rest.startswith("head.") else 0


class Autoencoded(FaceJudge):
    """The released `ed`."""

    def __init__(self, config: ConvNextConfig, swin: SwinConfig | None = None) -> None:
        super().__init__(config, swin)
        down, up = (3, 16, 32, 64, 128, _CODED), (_CODED, 128, 64, 32, 16, 3)
        coding: list[nn.Module] = []
        for into, out in pairwise(down):
            coding += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        decoding: list[nn.Module] = []
        for into, out in pairwise(up):
            decoding += [nn.ConvTranspose2d(into, out, 2, stride=2), nn.ReLU()]
        self.encoder, self.decoder = Features(*coding), Features(*decoding)
        self.backbone = _backbone(config, swin)

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        return self.judged(images_bchw, self.decoder(self.encoder(images_bchw)))

    def judged(self, images_bchw: Tensor, decoded_bchw: Tensor) -> dict[str, Tensor]:
        both = torch.cat([self.backbone(decoded_bchw), self.backbone(images_bchw)], 1)
        hidden_bd = functional.gelu(self.fc(functional.gelu(both)))
        return {CLS: hidden_bd, LOGIT: self.fc2(hidden_bd)}


class Codes(Features):
    """Pictures → the means of their codes, and what scatters them."""

    def __init__(self, size: int, *, variances: bool) -> None:
        widths = (3, 16, 32, 64, 128)
        layers: list[nn.Module] = []
        for into, out in pairwise(widths):
            layers += [nn.Conv2d(into, out, 3, stride=2, padding=1), nn.BatchNorm2d(out)]
            layers.append(nn.LeakyReLU())
        super().__init__(*layers)
        flat, codes = widths[-1] * (size // 16) ** 2, _CODED * (size // 32) ** 2
        self.mu = nn.Linear(flat, codes)
        self.var = nn.Linear(flat, codes) if variances else None

    def noise(self, device: torch.device) -> Tensor:
        """(z): the same for every face, so that a face gets the same numbers again."""
        generator = torch.Generator().manual_seed(_SEED)
        return torch.randn(self.mu.out_features, generator=generator).to(device)

    def scattered(self, images_bchw: Tensor, noise: Tensor) -> Tensor:
        """(b, z)."""
        flat = self.features(images_bchw).flatten(1)
        mean = self.mu(flat)
        spread = mean if self.var is None else self.var(flat)
        found: Tensor = noise * torch.exp(0.5 * spread) + mean
        return found


class Sampled(FaceJudge):
    """The released `vae`; reconstructions are half as large."""

    def __init__(
        self, config: ConvNextConfig, size: int = 224, noise: Noise = "released",
        swin: SwinConfig | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, swin, size=size, noise=noise)
        self.scatters = noise != "none"
        self.encoder = Codes(size, variances=noise == "meant")
        up = (_CODED, 64, 32, 16, 3)
        layers: list[nn.Module] = []
        for into, out in pairwise(up):
            layers += [nn.ConvTranspose2d(into, out, 2, stride=2), nn.LeakyReLU()]
        self.decoder = Features(*layers)
        self.convnext_backbone = _backbone(config, swin)

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        noise = self.encoder.noise(images_bchw.device)
        codes_bz = self.encoder.scattered(images_bchw, noise if self.scatters else 0 * noise)
        return self.judged(images_bchw, self.decoded(codes_bz))

    def decoded(self, codes_bz: Tensor) -> Tensor:
        side = math.isqrt(codes_bz.shape[1] // _CODED)
        found: Tensor = self.decoder(codes_bz.reshape(-1, _CODED, side, side))
        return found

    def judged(self, images_bchw: Tensor, decoded_bchw: Tensor) -> dict[str, Tensor]:
        seen = (self.convnext_backbone(images_bchw), self.convnext_backbone(decoded_bchw))
        hidden_bd = functional.relu(self.fc(functional.relu(torch.cat(seen, 1))))
        return {CLS: hidden_bd, LOGIT: self.fc2(hidden_bd)}


def released_names(state: State, noise: Noise = "released", *, swin: bool = False) -> State:
    """Without what no output depends on."""
    variances = () if noise == "meant" else ("encoder.var.",)
    unused = (*_UNUSED, *variances, *(() if swin else _SWIN))
    whole = without_prefix(state, ("module.",))
    return {key: value for key, value in whole.items() if not key.startswith(unused)}
