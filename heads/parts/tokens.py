"""What heads that read cached tokens have in common: tokens come from the store batch by batch.

So a data set need not fit in memory. Depth vectors are small and stay on the device.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.views.sampling import CLIP_FRAMES
from features_store.table import Table
from heads.errors import BadSetting, BadTable
from heads.head import FitReport, Head, OnEpoch, Probabilities, check_labels, check_table
from heads.parts import arrays
from heads.parts.arrays import DEPTH
from heads.training.config import TrainConfig
from heads.training.loop import train_model
from heads.training.model import Batch, Model, Samples

if TYPE_CHECKING:
    from features_store.lazy import LazyRows

_SCORED_AT_ONCE = 16
"""Views."""


class TokenModel(Model):
    """A model that makes logits of tokens and depth vectors."""

    is_small = False
    sees_vectors = False

    def __init__(self, key: str) -> None:
        self.key = key
        """The array of tokens."""
        self.tables: dict[int, Table] = {}
        """id of a Samples' x → the table it comes from; 0: the one to learn from."""

    @abstractmethod
    def token_logits(self, tokens: Tensor, beside_bd: Tensor, *, training: bool) -> Tensor:
        """(b, classes); tokens are (b, …) as they are stored."""

    def training_logits(self, batch: Batch) -> Tensor:
        stored = self.finite(self.stored(self.tables[0], batch.rows, batch.views))
        return self.token_logits(stored.to(batch.x.device).float(), batch.x, training=True)

    def view_probabilities(self, samples: Samples) -> Probabilities:
        return self.predict(self.tables[id(samples)], samples.x)

    @torch.no_grad()
    def predict(self, table: Table, x: Tensor) -> Probabilities:
        return np.concatenate(list(self._scored(table, x)))

    def _scored(self, table: Table, x: Tensor) -> Iterator[Probabilities]:
        step = max(1, _SCORED_AT_ONCE // x.shape[1])
        for start in range(0, len(table), step):
            part = np.arange(start, min(start + step, len(table)))
            tokens = self.finite(self.stored(table, part)).to(x.device).float()
            flat = self.token_logits(tokens.flatten(0, 1), x[part].flatten(0, 1), training=False)
            yield arrays.softmax_numpy(flat.reshape(*tokens.shape[:2], -1))

    def stored(
        self, table: Table, rows: NDArray[np.int64], views: NDArray[np.int64] | None = None
    ) -> Tensor:
        """Tokens as they are stored: (b, v, …), or of each row one view, (b, …)."""
        return stored_tokens(table, self.key, rows, views)

    def finite(self, numbers: Tensor) -> Tensor:
        """The same, refused where a number is not finite."""
        if not bool(torch.isfinite(numbers).all()):
            raise BadTable(f"{self.key} holds numbers that are not finite; extract again.")
        return numbers


def frame_by_frame(tokens: Tensor) -> Tensor:
    """(b, t, p, d) of tokens as they are stored: like that, or in one row behind a class token."""
    if tokens.ndim == 4:
        return tokens
    if tokens.ndim != 3 or (tokens.shape[1] - 1) % CLIP_FRAMES:
        raise BadTable(
            f"Tokens of {list(tokens.shape[1:])} are not a class token and {CLIP_FRAMES} frames; "
            f"give tokens of internvideo2, or of a branch that keeps frames apart."
        )
    return tokens[:, 1:].reshape(len(tokens), CLIP_FRAMES, -1, tokens.shape[-1])


M = TypeVar("M", bound=TokenModel)


class TokenHead(Head, Generic[M]):
    """A head of such a model."""

    config: TrainConfig

    def __init__(self, config: TrainConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        self.model: M | None = None

    @abstractmethod
    def new_model(self, table: Table, seed: int, device: str) -> M:
        """Untrained, for a table's sizes."""

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
        self.model = self.new_model(train, seed, device)
        self.model.tables = {0: train, id(judge): validation}
        report = train_model(self.model, self.config, learn, judge, seed=seed, on_epoch=on_epoch)
        self.model.tables = {}
        return report

    def samples(self, table: Table, device: str, what: str) -> Samples:
        """All but the tokens."""
        check_table(table, self.keys, what)
        check_labels(table, what, several=what == "training")
        rank_loss = self.config.rank_loss and what == "training"
        return Samples.of(
            self.beside(table).to(device), table, rank_loss=rank_loss,
            within_class=self.config.rank_within_class,
        )  # fmt: skip

    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored")
        if self.model is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        device = next(iter(self.model.state().values())).device
        return self.model.predict(table, self.beside(table).to(device))

    def save(self, folder: Path) -> None:
        if self.model is None:
            raise BadSetting("This head is not trained yet; there is nothing to save.")
        arrays.save_tensors(folder / "head.safetensors", self.model.state())

    def beside(self, table: Table) -> Tensor:
        """(n, V, columns): what is small beside the tokens and stays in memory. Here: the depth
        vectors, where they are asked for."""
        if DEPTH in self.keys:
            return arrays.matrix(table, (DEPTH,))
        return torch.zeros(len(table), token_rows(table, self.keys[0]).shape[1], 0)


def token_rows(table: Table, key: str) -> "NDArray[Any] | LazyRows":
    """The tokens, in memory or on the disk."""
    return table.lazy[key] if key in table.lazy else table.arrays[key]


def stored_tokens(
    table: Table, key: str, rows: NDArray[np.int64], views: NDArray[np.int64] | None
) -> Tensor:
    """Of some rows all views, or one of each."""
    there = token_rows(table, key)
    found = there[rows] if views is None else one_view(there, rows, views)
    return torch.from_numpy(np.ascontiguousarray(found))


def one_view(
    stored: "NDArray[Any] | LazyRows", rows: NDArray[np.int64], views: NDArray[np.int64]
) -> NDArray[Any]:
    """Of each row one view, (n, …); where they are on the disk the others are not read."""
    if isinstance(stored, np.ndarray):
        return stored[rows, views]
    found: NDArray[Any] = stored.by_view(rows, views)[np.arange(len(rows))][:, 0]
    return found
