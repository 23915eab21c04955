"""LightGBM's boosted trees on the same vectors, a sample of the columns for each tree.

Stops when the validation videos gain nothing more. Saved in LightGBM's own text format.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import lightgbm
import numpy as np

from features_store.commit import write_file
from features_store.table import Table
from heads.errors import BadBundle, BadSetting
from heads.head import FitReport, OnEpoch, Probabilities, check_labels, check_table
from heads.parts import arrays
from heads.parts.pooled import PooledHead, timed_report
from heads.parts.present import marked, seen
from heads.parts.space import OneOf, Range, Space
from heads.training.losses import table_weights

_FILE = "head.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class GbdtConfig:
    """What there is to set."""

    trees: int = 300
    """At most."""
    lr: float = 0.05
    leaves: int = 15
    min_leaf: int = 10
    """Samples in a leaf, at least."""
    columns: float = 0.1
    """Share of the columns that a tree sees."""
    patience: int = 30
    """Trees without a better validation loss before it stops."""
    depth: bool = True
    """Use the depth branch too."""
    arrays: str = ""
    """Names of arrays, with commas between them, to use instead: clip-b32/x,depthpro/depth.
    With a branch's `present` among them, frames that are not there are left out of its means."""
    rank_loss: bool = True
    """Weigh each sample by log(e + rank)."""
    rank_within_class: bool = False
    """Divide those weights by their mean in the class."""

    def __post_init__(self) -> None:
        if min(self.trees, self.min_leaf, self.patience) < 1 or self.leaves < 2:
            raise BadSetting("trees, min_leaf and patience must be 1 or more, leaves 2 or more.")
        if not 0 < self.columns <= 1 or not self.lr > 0:
            raise BadSetting(
                f"columns={self.columns:g}, lr={self.lr:g}: give more than 0, up to 1."
            )


class Gbdt(PooledHead):
    """See the module."""

    name = "gbdt"
    Config = GbdtConfig
    SPACE: ClassVar[Space] = {
        "lr": Range(low=0.01, high=0.3, log=True),
        "leaves": Range(low=4, high=64, log=True, whole=True),
        "min_leaf": Range(low=2, high=50, log=True, whole=True),
        "columns": Range(low=0.02, high=0.5, log=True),
        "rank_loss": OneOf(("true", "false")),
    }
    config: GbdtConfig
    _booster: Any = None

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        config = self.config
        with timed_report(self, validation) as report:
            for table, what in ((train, "training"), (validation, "validation")):
                check_table(table, self.keys, what)
            check_labels(train, "training")
            train = seen(train, self.keys)
            parameters = {
                "objective": "multiclass", "num_class": len(self.classes), "verbose": -1,
                "learning_rate": config.lr, "num_leaves": config.leaves, "max_bin": 63,
                "min_data_in_leaf": config.min_leaf, "feature_fraction": config.columns,
                "seed": seed, "deterministic": True, "force_row_wise": True,
            }  # fmt: skip
            weights = table_weights(
                train, rank_loss=config.rank_loss, within_class=config.rank_within_class
            ).numpy()
            learn = self._data(train, weights)
            judge = self._data(validation, np.ones(len(validation)), learn)
            self._booster = lightgbm.train(
                parameters, learn, config.trees, valid_sets=[judge],
                callbacks=[lightgbm.early_stopping(config.patience, verbose=False)],
            )  # fmt: skip
        return report()

    def _data(
        self,
        table: Table,
        weights: np.ndarray[Any, Any],
        like: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        x = arrays.matrix(table, self.keys)
        views = x.shape[1]
        return lightgbm.Dataset(
            x.flatten(0, 1).numpy(), np.repeat(table.labels, views),
            weight=np.repeat(weights, views), reference=like,
        )  # fmt: skip

    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored")
        if self._booster is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        x = arrays.matrix(table, self.keys)
        if x.shape[-1] != self._booster.num_feature():
            raise BadBundle(f"Features have {x.shape[-1]} columns, not the trees'.")
        flat = self._booster.predict(x.flatten(0, 1).numpy())
        found: Probabilities = np.asarray(flat, np.float32).reshape(*x.shape[:2], -1)
        found /= found.sum(-1, keepdims=True)
        return marked(table, self.keys, found)

    def save(self, folder: Path) -> None:
        if self._booster is None:
            raise BadSetting("This head is not trained yet; there is nothing to save.")
        write_file(folder / _FILE, [self._booster.model_to_string().encode()])

    def load(self, folder: Path) -> None:
        path = folder / _FILE
        try:
            self._booster = lightgbm.Booster(model_str=path.read_text())
        except FileNotFoundError as error:
            raise BadBundle(f"{path} is missing; the bundle is not complete.") from error
        except (lightgbm.basic.LightGBMError, ValueError) as error:
            raise BadBundle(f"{path} is no LightGBM model: {error}") from error
        if self._booster.num_model_per_iteration() != len(self.classes):
            raise BadBundle(f"{path} has other classes than {', '.join(self.classes)}.")


HEAD = Gbdt
