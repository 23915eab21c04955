"""The fusion head with its attention pool trained too, on cached tokens.

The pool asks with the mean of all tokens and all tokens answer; cls and avg come from the tokens
as well. Tokens are read from the store batch by batch, so a data set need not fit in memory.
`start` takes the pool of a weights file instead of a random one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from extract.networks import weights
from extract.networks.vit import AttentionPool
from features_store.table import Table
from heads.errors import BadBundle, BadSetting
from heads.parts import arrays
from heads.parts.arrays import DEPTH, TOKENS
from heads.parts.fusion_net import NOT_DECAYED, BatchStatistics, Layout, initial, logits
from heads.parts.space import OneOf, Range, Space
from heads.parts.tokens import TokenHead, TokenModel, token_rows
from heads.training.config import TrainConfig
from heads.training.loop import parameters_to_train

_POOL = "pool."


@dataclass(frozen=True, slots=True, kw_only=True)
class AttnPoolConfig(TrainConfig):
    """The pool, and how it is trained."""

    depth: bool = True
    """Fuse with the depth branch."""
    heads: int = 0
    """Of the pool's attention; 0: one for every 64 channels."""
    out: int = 768
    """Size of the pooled vector."""
    hidden: int = 1024
    """What fc1 makes, without depth."""
    start: str | None = None
    """A weights file of the branch, whose pool training starts from."""

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if self.mixup or self.dropout:
            raise BadSetting("attnpool has no mixup and no dropout: tokens are taken as they are.")


class AttnPoolModel(TokenModel):
    """The pool's module and the fusion head's tensors."""

    def __init__(self, pool: AttentionPool, layout: Layout, tensors: dict[str, Tensor]) -> None:
        super().__init__(TOKENS)
        self.pool = pool
        self.layout = layout
        self.tensors = tensors
        self._statistics = BatchStatistics(tensors)

    def parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        learning = {name: tensor for name, tensor in self.state().items() if tensor.requires_grad}
        plain = {n for n, t in learning.items() if n.endswith(NOT_DECAYED) or t.ndim == 1}
        return (
            [tensor for name, tensor in learning.items() if name not in plain],
            [tensor for name, tensor in learning.items() if name in plain],
        )

    def state(self) -> dict[str, Tensor]:
        pool = {
            f"{_POOL}{name}": tensor
            for name, tensor in self.pool.state_dict(keep_vars=True).items()
        }
        return {**self.tensors, **pool}

    def token_logits(self, tokens_bnd: Tensor, depth_bd: Tensor, *, training: bool) -> Tensor:
        attn = self.pool(tokens_bnd)
        columns = [tokens_bnd[:, 0], tokens_bnd[:, 1:].mean(1), attn, depth_bd]
        statistics = self._statistics if training else None
        return logits(self.tensors, torch.cat(columns, -1), self.layout, statistics)


class AttnPool(TokenHead[AttnPoolModel]):
    """See the module."""

    name = "attnpool"
    Config = AttnPoolConfig
    SPACE: ClassVar[Space] = {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "weight_decay": Range(low=1e-3, high=0.5, log=True),
        "smoothing": Range(low=0.0, high=0.3),
        "rank_loss": OneOf(("true", "false")),
    }
    lazy = (TOKENS,)
    config: AttnPoolConfig

    @property
    def keys(self) -> tuple[str, ...]:
        return (TOKENS, DEPTH) if self.config.depth else (TOKENS,)

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        try:
            hidden = found["fc1.weight"].shape[0]
            width = found[f"{_POOL}norm1_q.weight"].shape[0]
        except (KeyError, IndexError) as error:
            raise BadBundle(f"{path} is no attnpool head ({error}).") from error
        model = self._sized(width, hidden, 0)
        arrays.filled(found, model.state(), path)
        self.model = model

    def new_model(self, table: Table, seed: int, device: str) -> AttnPoolModel:
        hidden = self.config.hidden
        if self.config.depth:
            hidden = arrays.widths(table, (DEPTH,))[DEPTH]
        model = self._sized(token_rows(table, TOKENS).shape[-1], hidden, seed)
        if self.config.start is not None:
            _start_pool(model.pool, Path(self.config.start))
        model.pool.to(device)
        model.tensors.update({name: t.to(device) for name, t in model.tensors.items()})
        parameters_to_train(model.tensors, () if self.config.depth else ("alpha",))
        return model

    def _sized(self, width: int, hidden: int, seed: int) -> AttnPoolModel:
        heads = self.config.heads or max(1, width // 64)
        if width % heads:
            raise BadSetting(f"heads={heads} does not divide the tokens' {width} channels.")
        pool = AttentionPool(width, heads, self.config.out)
        weights.seeded(pool, seed)
        layout = Layout(
            width=width, attn=self.config.out, depth=hidden if self.config.depth else 0,
            hidden=hidden,
        )  # fmt: skip
        tensors = initial(layout, len(self.classes), torch.Generator().manual_seed(seed))
        return AttnPoolModel(pool, layout, tensors)


def _start_pool(pool: AttentionPool, path: Path) -> None:
    state = weights.read_state(path)
    found = {
        k.partition("clip_projector.")[2]: v for k, v in state.items() if "clip_projector." in k
    }
    weights.fill(pool, found, model=str(path))


HEAD = AttnPool
