"""HumanSAM's alpha between any two arrays: one is mapped into the other's space, both are mixed.

    logits = classes(alpha * fc1(norm(first)) + (1 - alpha) * second)

It is the fusion head with other names: `first` stands where the attention vector stands, `second`
where the depth vector does. Frames or times between views and channels are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from features_store.table import Table
from heads.errors import BadSetting
from heads.head import FitReport, Head, OnEpoch, Probabilities, check_table
from heads.parts import arrays
from heads.parts.arrays import ATTN, DEPTH
from heads.parts.fusion_net import AlphaMode
from heads.parts.space import Range, Space
from heads.training.config import TrainConfig
from heads.zoo.fusion import Fusion, FusionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendConfig(TrainConfig):
    """Which two, and how they are mixed."""

    first: str = ATTN
    """The array that is normalised and mapped."""
    second: str = DEPTH
    """The array that is taken as it is."""
    alpha: AlphaMode = "sigmoid"
    """sigmoid: kept in [0, 1]; free: as released; fixed: stays as it began."""
    alpha_start: float = 0.5

    def __post_init__(self) -> None:
        if self.first == self.second or not self.first or not self.second:
            raise BadSetting(
                f"first={self.first!r}, second={self.second!r}: give two arrays of the store."
            )
        self.inner()

    def inner(self) -> FusionConfig:
        """The fusion head's settings."""
        own: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(TrainConfig)}
        return FusionConfig(
            vector="attn", depth=True, alpha=self.alpha, alpha_start=self.alpha_start, **own
        )


class Blend(Head):
    """See the module."""

    name = "blend"
    Config = BlendConfig
    SPACE: ClassVar[Space] = {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "weight_decay": Range(low=1e-3, high=0.5, log=True),
        "smoothing": Range(low=0.0, high=0.3),
        "dropout": Range(low=0.0, high=0.5),
    }
    learns_on_one_thread = True
    config: BlendConfig

    def __init__(self, config: BlendConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        self.fusion = Fusion(config.inner(), classes)

    @property
    def keys(self) -> tuple[str, ...]:
        return self.config.first, self.config.second

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        learn, judge = self._renamed(train, "training"), self._renamed(validation, "validation")
        return self.fusion.fit(learn, judge, seed=seed, device=device, on_epoch=on_epoch)

    def predict(self, table: Table) -> Probabilities:
        return self.fusion.predict(self._renamed(table, "scored"))

    @property
    def alpha(self) -> float:
        """How much of the first."""
        model = self.fusion.model
        if model is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        found = model.tensors["alpha"].detach()
        return float(found.sigmoid() if self.config.alpha == "sigmoid" else found)

    def save(self, folder: Path) -> None:
        self.fusion.save(folder)

    def load(self, folder: Path) -> None:
        self.fusion.load(folder)

    def _renamed(self, table: Table, what: str) -> Table:
        check_table(table, self.keys, what)
        first, second = (arrays.matrix(table, (key,)).numpy() for key in self.keys)
        prints = (table.fingerprints[key] for key in self.keys)
        return replace(
            table,
            arrays={ATTN: first, DEPTH: second[:, :, None]},
            fingerprints=dict(zip((ATTN, DEPTH), prints, strict=True)),
        )


HEAD = Blend
