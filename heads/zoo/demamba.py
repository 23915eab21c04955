"""DeMamba: regions of a clip's frames read by a small Mamba block, beside one global vector.

`order=released` is what the released code does, which cuts tokens into sequences along the rows of
single frames; `order=over-time` is what its paper describes, a region followed through the frames.
`variant=xclip` takes X-CLIP's tokens and class vectors with norms behind them, one token a region;
`variant=clip` takes CLIP's projected tokens without norms, four tokens a region; it reads tokens of
InternVideo2 too, which come in one row behind a class token. The released
recipe trains the encoder too; on cached tokens the head alone learns.
Legend: b clips, f frames, p patches of a frame, d channels, s sequences, l places in one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from features_store.table import Table
from heads.errors import BadBundle, BadSetting, BadTable
from heads.parts import arrays
from heads.parts.drawing import Dropped, drawn
from heads.parts.mamba import EPS, MambaBlock, sequences
from heads.parts.space import OneOf, Range, Space
from heads.parts.tokens import TokenHead, TokenModel, frame_by_frame, token_rows
from heads.training.config import TrainConfig

_NEVER = -30.0
"""Where the logit of a class without videos begins."""
UNUSED = ("mamba.mixer.conv1d_b.", "bn1.")
"""Tensors of a released head that none of its outputs depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeMambaConfig(TrainConfig):
    """What the head looks at, and how it is trained."""

    tokens: str = "image/tokens"
    """Array of patch tokens."""
    vectors: str = "image/cls"
    """Array of class vectors, for the variant xclip."""
    variant: Literal["xclip", "clip"] = "xclip"
    """Norms and one token a region (xclip), or none and four (clip)."""
    order: Literal["released", "over-time"] = "released"
    """How tokens become sequences: as the code has it, or as its paper says."""
    drop_path: float = 0.1
    """Share of the sequences whose mixer is left out, in training."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if self.mixup or self.dropout:
            raise BadSetting("demamba has no mixup and no dropout: tokens are taken as they are.")
        if not 0 <= self.drop_path < 1:
            raise BadSetting(f"drop_path={self.drop_path:g}: give 0 or more, less than 1.")

    @property
    def fusing(self) -> int:
        return 1 if self.variant == "xclip" else 2


class DeMambaNet(nn.Module):
    """Tokens and the mean class vector → logits; parameters have the released names."""

    def __init__(self, patches: int, width: int, classes: int, config: DeMambaConfig) -> None:
        super().__init__()
        self.side = math.isqrt(patches)
        if self.side**2 != patches or self.side % config.fusing:
            raise BadTable(
                f"{config.tokens} has {patches} tokens a frame; {config.variant} needs a square "
                f"grid whose side is a multiple of {config.fusing}, without a class token."
            )
        self.config = config
        self.sequences = patches // config.fusing**2
        self.mamba = MambaBlock(width)
        if config.variant == "xclip":
            self.fc_norm = nn.LayerNorm(self.sequences * width, eps=EPS)
            self.fc_norm2 = nn.LayerNorm(width, eps=EPS)
        self.fc1 = nn.Linear((1 + self.sequences) * width, classes)
        nn.init.xavier_uniform_(self.fc1.weight)
        nn.init.zeros_(self.fc1.bias)

    def forward(
        self, tokens_bfpd: Tensor, vectors_bd: Tensor, kept_b: Tensor | None = None
    ) -> Tensor:
        logits: Tensor = self.fc1(self.feature(tokens_bfpd, vectors_bd, kept_b))
        return logits

    def feature(
        self, tokens_bfpd: Tensor, vectors_bd: Tensor, kept_b: Tensor | None = None
    ) -> Tensor:
        """The global vector, then every region's."""
        read_sld = self.mamba(self.regions(tokens_bfpd), kept_b)
        regions_bd = read_sld.mean(1).reshape(len(tokens_bfpd), -1)
        if self.config.variant == "clip":
            return torch.cat([tokens_bfpd.mean((1, 2)), regions_bd], -1)
        return torch.cat([self.fc_norm2(vectors_bd), self.fc_norm(regions_bd)], -1)

    def regions(self, tokens_bfpd: Tensor) -> Tensor:
        """(b · s, l, d): the sequences that the Mamba block reads."""
        over_time = self.config.order == "over-time"
        frames = tokens_bfpd.shape[1]
        order_sl = sequences(self.side, frames, self.config.fusing, over_time=over_time)
        return tokens_bfpd.flatten(1, 2)[:, order_sl.to(tokens_bfpd.device)].flatten(0, 1)


class DeMambaModel(TokenModel):
    """The network, and which sequences are dropped."""

    def __init__(self, net: DeMambaNet, key: str, drop: Dropped) -> None:
        super().__init__(key)
        self.net = net
        self._drop = drop

    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        named = list(self.net.parameters())
        return [p for p in named if p.ndim > 1], [p for p in named if p.ndim <= 1]

    def state(self) -> dict[str, Tensor]:
        return dict(self.net.state_dict(keep_vars=True))

    def token_logits(self, tokens: Tensor, beside_bd: Tensor, *, training: bool) -> Tensor:
        count = len(tokens) * self.net.sequences
        kept_b = self._drop.factors(count, tokens.device) if training else None
        logits: Tensor = self.net(frame_by_frame(tokens), beside_bd, kept_b)
        return logits


class DeMamba(TokenHead[DeMambaModel]):
    """See the module."""

    name = "demamba"
    Config = DeMambaConfig
    SPACE: ClassVar[Space] = {
        "lr": Range(low=1e-5, high=1e-2, log=True),
        "weight_decay": Range(low=1e-8, high=0.5, log=True),
        "order": OneOf(("released", "over-time")),
        "rank_loss": OneOf(("true", "false")),
    }
    config: DeMambaConfig

    def __init__(self, config: DeMambaConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        self.lazy = (config.tokens,)

    @property
    def keys(self) -> tuple[str, ...]:
        if self.config.variant == "clip":
            return (self.config.tokens,)
        return (self.config.tokens, self.config.vectors)

    def beside(self, table: Table) -> Tensor:
        """The mean of the frames' class vectors."""
        if self.config.variant == "clip":
            return super().beside(table)
        return torch.from_numpy(table.arrays[self.config.vectors]).float().mean(2)

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        try:
            (width,) = found["mamba.norm.weight"].shape
            sequences_found = found["fc1.weight"].shape[1] // width - 1
        except (KeyError, IndexError, ValueError) as error:
            raise BadBundle(f"{path} is no demamba head ({error}).") from error
        self.model = self._sized(sequences_found * self.config.fusing**2, width, 0)
        arrays.filled(found, self.model.state(), path)

    def new_model(self, table: Table, seed: int, device: str) -> DeMambaModel:
        first = torch.from_numpy(np.asarray(token_rows(table, self.config.tokens)[np.arange(1)]))
        patches, width = frame_by_frame(first[:, 0]).shape[2:]
        model = self._sized(patches, width, seed)
        absent = [c for c in range(len(self.classes)) if c not in table.labels]
        with torch.no_grad():  # behind norms, what is like no class that was seen looks like them
            model.net.fc1.weight[absent], model.net.fc1.bias[absent] = 0, _NEVER
        model.net.to(device)
        return model

    def _sized(self, patches: int, width: int, seed: int) -> DeMambaModel:
        net = drawn(seed, lambda: DeMambaNet(patches, width, len(self.classes), self.config))
        return DeMambaModel(net, self.config.tokens, Dropped(self.config.drop_path, seed))


HEAD = DeMamba
