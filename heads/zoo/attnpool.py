"""The fusion head with its attention pool trained too, on cached tokens.

The pool asks with the mean of all tokens and all tokens answer; cls and avg come from the tokens
as well. Tokens are read from the store batch by batch, so a data set need not fit in memory.
`start` takes the pool of a weights file instead of a random one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract import weights
from extract.vit import AttentionPool
from features_store.table import Table
from heads import arrays
from heads.arrays import DEPTH, TOKENS
from heads.errors import BadBundle, BadSetting, BadTable
from heads.fusion_net import BatchStatistics, Layout, initial, logits
from heads.head import FitReport, Head, OnEpoch, Probabilities, check_labels, check_table
from heads.losses import table_weights
from heads.spaces import OneOf, Range, Space
from heads.train import Batch, Model, Samples, parameters_to_train, train_model
from heads.training import TrainConfig

if TYPE_CHECKING:
    from features_store.lazy import LazyRows

NOT_DECAYED = ("bias", "fc_norm.weight", "alpha")
_POOL = "pool."
_SCORED_AT_ONCE = 16
"""Views."""


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


class AttnPoolModel(Model):
    """The pool's module, the fusion head's tensors, and where tokens come from."""

    def __init__(self, pool: AttentionPool, layout: Layout, tensors: dict[str, Tensor]) -> None:
        self.pool = pool
        self.layout = layout
        self.tensors = tensors
        self.tables: dict[int, Table] = {}
        """id of a Samples' x → the table it comes from."""
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

    def training_logits(self, batch: Batch) -> Tensor:
        tokens = self._tokens(self.training_table, batch.rows)
        tokens_bnd = tokens[torch.arange(len(tokens)), torch.from_numpy(batch.views)]
        return self._logits(tokens_bnd.to(batch.x.device), batch.x, self._statistics)

    @torch.no_grad()
    def view_probabilities(self, samples: Samples) -> Probabilities:
        return np.concatenate(list(self._scored(self.tables[id(samples)], samples.x)))

    @torch.no_grad()
    def predict(self, table: Table, x: Tensor) -> Probabilities:
        return np.concatenate(list(self._scored(table, x)))

    @property
    def training_table(self) -> Table:
        return self.tables[0]

    def _scored(self, table: Table, x: Tensor) -> Iterator[Probabilities]:
        step = max(1, _SCORED_AT_ONCE // x.shape[1])
        for start in range(0, len(table), step):
            part = np.arange(start, min(start + step, len(table)))
            tokens = self._tokens(table, part).to(x.device)
            flat = self._logits(tokens.flatten(0, 1), x[part].flatten(0, 1), None)
            yield arrays.softmax_numpy(flat.reshape(*tokens.shape[:2], -1))

    def _tokens(self, table: Table, rows: NDArray[np.int64]) -> Tensor:
        tokens = torch.from_numpy(np.ascontiguousarray(_rows(table)[rows]))
        if not bool(torch.isfinite(tokens).all()):
            raise BadTable(f"{TOKENS} holds numbers that are not finite; extract again.")
        return tokens.float()

    def _logits(self, tokens_bnd: Tensor, x: Tensor, statistics: BatchStatistics | None) -> Tensor:
        attn = self.pool(tokens_bnd)
        columns = [tokens_bnd[:, 0], tokens_bnd[:, 1:].mean(1), attn, x]
        return logits(self.tensors, torch.cat(columns, -1), self.layout, statistics)


class AttnPool(Head):
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

    def __init__(self, config: AttnPoolConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        self.model: AttnPoolModel | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return (TOKENS, DEPTH) if self.config.depth else (TOKENS,)

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        learn = self.samples(train, device, "training")
        judge = self.samples(validation, device, "validation")
        self.model = self._new_model(train, seed, device)
        self.model.tables = {0: train, id(judge): validation}
        report = train_model(self.model, self.config, learn, judge, seed=seed, on_epoch=on_epoch)
        self.model.tables = {}
        return report

    def samples(self, table: Table, device: str, what: str) -> Samples:
        """All but the tokens."""
        check_table(table, self.keys, what)
        check_labels(table, what, several=what == "training")
        rank_loss = self.config.rank_loss and what == "training"
        return Samples(
            x=self._depth(table).to(device),
            targets=torch.from_numpy(table.labels.astype(np.int64)).to(device),
            weights=table_weights(table, rank_loss=rank_loss).to(device),
            classes=len(self.classes),
        )

    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored")
        if self.model is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        device = self.model.tensors["fc1.weight"].device
        return self.model.predict(table, self._depth(table).to(device))

    def save(self, folder: Path) -> None:
        assert self.model is not None
        arrays.save_tensors(folder / "head.safetensors", self.model.state())

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

    def _new_model(self, table: Table, seed: int, device: str) -> AttnPoolModel:
        hidden = self.config.hidden
        if self.config.depth:
            hidden = arrays.widths(table, (DEPTH,))[DEPTH]
        model = self._sized(_rows(table).shape[-1], hidden, seed)
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

    def _depth(self, table: Table) -> Tensor:
        if self.config.depth:
            return arrays.matrix(table, (DEPTH,))
        return torch.zeros(len(table), _rows(table).shape[1], 0)


def _rows(table: Table) -> "NDArray[Any] | LazyRows":
    """The tokens, in memory or on the disk."""
    return table.lazy[TOKENS] if TOKENS in table.lazy else table.arrays[TOKENS]


def _start_pool(pool: AttentionPool, path: Path) -> None:
    state = weights.read_state(path)
    found = {
        k.partition("clip_projector.")[2]: v for k, v in state.items() if "clip_projector." in k
    }
    weights.fill(pool, found, model=str(path))


HEAD = AttnPool
