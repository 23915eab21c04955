"""V-PVP: a small network on how a video's patch tokens move.

Tokens of InternVideo2 (class token first, then frame by frame), of `video=` and `image=` branches
are read as they are stored. `form=magnitude` leaves the gated context out: it then takes an array
of magnitudes (a video encoder's `velocity`), a few kilobytes a view instead of megabytes of tokens.
Frames that are spread over a whole file make velocity one per file, not one per second: a short
clip and a long one differ whoever made them. Legend: as in `heads.parts.velocity`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor

from features_store.table import Table
from heads.errors import BadBundle, BadSetting
from heads.parts import arrays
from heads.parts.drawing import Dropped, drawn
from heads.parts.space import OneOf, Range, Space
from heads.parts.tokens import TokenHead, TokenModel, frame_by_frame, token_rows
from heads.parts.velocity import MagnitudeReadout, VelocityReadout, magnitude
from heads.training.config import TrainConfig

Readout = VelocityReadout | MagnitudeReadout


@dataclass(frozen=True, slots=True, kw_only=True)
class VpvpConfig(TrainConfig):
    """The readout, and how it is trained."""

    tokens: str = "internvideo2/tokens"
    """Array of tokens; with form=magnitude it may be one of magnitudes (…/velocity)."""
    form: Literal["full", "magnitude"] = "full"
    """With the gated context, or without."""
    channels: int = 256
    """Of the readout."""
    gate: int = 128
    """Hidden width of the gate."""
    drop: float = 0.3
    """Dropout before the last layer."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if self.mixup or self.dropout:
            raise BadSetting("vpvp has no mixup, and its dropout is called drop.")
        if not 0 <= self.drop < 1 or self.gate < 1 or self.channels < 2 or self.channels % 2:
            raise BadSetting(
                f"drop={self.drop:g}, gate={self.gate}, channels={self.channels}: give 0 or more "
                f"but less than 1, 1 or more, and an even number."
            )


class VpvpModel(TokenModel):
    """The readout, and what is dropped."""

    def __init__(self, net: Readout, config: VpvpConfig, seed: int) -> None:
        super().__init__(config.tokens)
        self.net = net
        self.channels = config.channels
        self._dropped = Dropped(config.drop, seed)

    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        named = list(self.net.parameters())
        return [p for p in named if p.ndim > 1], [p for p in named if p.ndim <= 1]

    def state(self) -> dict[str, Tensor]:
        return dict(self.net.state_dict(keep_vars=True))

    def token_logits(self, tokens: Tensor, beside_bd: Tensor, *, training: bool) -> Tensor:
        del beside_bd
        kept = None
        if training:
            kept = self._dropped.factors((len(tokens), self.channels), tokens.device)
        if isinstance(self.net, VelocityReadout):
            tokens = by_time(tokens)
        elif not is_magnitude(self.key):
            tokens = magnitude(by_time(tokens))
        logits: Tensor = self.net(tokens, kept)
        return logits


def is_magnitude(key: str) -> bool:
    return key.endswith("/velocity")


def by_time(tokens: Tensor) -> Tensor:
    """(b, p, t, d)"""
    return frame_by_frame(tokens).transpose(1, 2)


class Vpvp(TokenHead[VpvpModel]):
    """See the module."""

    name = "vpvp"
    Config = VpvpConfig
    SPACE: ClassVar[Space] = {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "weight_decay": Range(low=1e-3, high=0.5, log=True),
        "drop": Range(low=0.0, high=0.5),
        "rank_loss": OneOf(("true", "false")),
    }
    config: VpvpConfig

    def __init__(self, config: VpvpConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        if is_magnitude(config.tokens) and config.form == "full":
            raise BadSetting(f"{config.tokens} has magnitudes alone; set form=magnitude.")
        self.lazy = (config.tokens,)

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.config.tokens,)

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        try:
            width = found["proj_r.weight"].shape[1]
        except (KeyError, IndexError) as error:
            raise BadBundle(f"{path} is no vpvp head ({error}).") from error
        self.model = self._sized(width, 0)
        arrays.filled(found, self.model.state(), path)

    def new_model(self, table: Table, seed: int, device: str) -> VpvpModel:
        model = self._sized(token_rows(table, self.config.tokens).shape[-1], seed)
        model.net.to(device)
        return model

    def _sized(self, width: int, seed: int) -> VpvpModel:
        return VpvpModel(drawn(seed, lambda: self._net(width)), self.config, seed)

    def _net(self, width: int) -> Readout:
        config, classes = self.config, len(self.classes)
        if config.form == "full":
            return VelocityReadout(width, config.channels, config.gate, classes)
        return MagnitudeReadout(width, config.channels, classes)


HEAD = Vpvp
