"""Cached arrays as grids over time, read from the store batch by batch, several cues at once.

Legend: b clips, v views, c channels, t times, h w height and width, p patches, d channels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features_store.table import Table
from heads.errors import BadTable
from heads.parts.drawing import Dropped
from heads.parts.experts import Expert, Joint
from heads.parts.tokens import TokenModel, stored_tokens, token_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One array as a grid."""

    key: str
    stored: tuple[int, ...]
    """Of a view in the store: tokens (t, p, d), or pictures in bytes (t, c, h, w)."""

    @staticmethod
    def of(table: Table, key: str) -> "Cue":
        stored = tuple(token_rows(table, key).shape[2:])
        square = len(stored) == 3 and math.isqrt(stored[1]) ** 2 == stored[1]
        if len(stored) != 4 and not square:
            raise BadTable(
                f"{key} is {list(stored)} a view; an expert needs tokens of a square grid (times, "
                f"patches, channels) or pictures (times, channels, height, width)."
            )
        return Cue(key=key, stored=stored)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(c, t, h, w)."""
        if len(self.stored) == 4:
            times, channels, height, width = self.stored
            return channels, times, height, width
        times, patches, channels = self.stored
        return channels, times, math.isqrt(patches), math.isqrt(patches)

    def grid(self, stored: Tensor) -> Tensor:
        """(b, …) as stored → (b, c, t, h, w)."""
        if len(self.stored) == 4:
            return stored.transpose(1, 2) / 255
        return stored.permute(0, 3, 1, 2).reshape(len(stored), *self.shape)


class CueModel(TokenModel):
    """A network on the grids of one cue or several."""

    def __init__(self, net: Expert | Joint, cues: Mapping[str, Cue], drop: Dropped) -> None:
        super().__init__(next(iter(cues.values())).key)
        self.net = net
        self.cues = cues
        self._drop = drop

    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        named = list(self.net.parameters())
        return [p for p in named if p.ndim > 1], [p for p in named if p.ndim <= 1]

    def state(self) -> dict[str, Tensor]:
        return dict(self.net.state_dict(keep_vars=True))

    def stored(
        self, table: Table, rows: NDArray[np.int64], views: NDArray[np.int64] | None = None
    ) -> Tensor:
        """(b, v, numbers) or (b, numbers): every cue's numbers in one row."""
        parts = (stored_tokens(table, cue.key, rows, views) for cue in self.cues.values())
        return torch.cat([part.float().flatten(2 if views is None else 1) for part in parts], -1)

    def token_logits(self, tokens: Tensor, beside_bd: Tensor, *, training: bool) -> Tensor:
        del beside_bd
        sizes = [math.prod(cue.stored) for cue in self.cues.values()]
        parts = zip(self.cues.items(), torch.split(tokens, sizes, -1), strict=True)
        grids = {
            name: cue.grid(part.reshape(len(part), *cue.stored)) for (name, cue), part in parts
        }
        if isinstance(self.net, Expert):
            (grid,) = grids.values()
            logits: Tensor = self.net(grid)
        else:
            kept = None
            if training:
                size = (len(tokens), self.net.fc1.out_features)
                kept = self._drop.factors(size, tokens.device)
            logits = self.net(grids, kept)
        return logits
