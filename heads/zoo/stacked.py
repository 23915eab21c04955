"""Several heads, and a logistic regression over what they say of videos that are new to them.

Each member is trained on the other folds and says its probabilities of each fold; the regression
learns from their logarithms how far to trust whom, and then the members learn from all videos. An
average of bundles is `telltale ensemble`; this one needs no videos beside those learnt from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from features_store.table import Table
from heads.data.folds import fold_numbers
from heads.errors import BadSetting
from heads.head import (
    FitReport,
    Head,
    OnEpoch,
    Probabilities,
    check_labels,
    check_table,
    head_class,
    make_head,
)
from heads.measuring.metrics import Floats
from heads.parts import arrays
from heads.parts.pooled import timed_report
from heads.parts.space import OneOf, Range, Space

_SMALLEST = 1e-6
_PASSED_ON = ("arrays", "depth", "rank_loss")
"""Settings that members get where they have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedConfig:
    """Who its members are, and how they are weighed."""

    members: str = "linear+knn"
    """Heads, each with settings of its own: linear:c=0.1+mlp:strategy=average."""
    folds: int = 5
    c: float = 1.0
    """Inverse strength of the regression's L2 penalty."""
    arrays: str = ""
    """Names of arrays for members that take such, with commas between them."""
    depth: bool = True
    """For members that can do without the depth branch."""
    rank_loss: bool = True
    """For members that weigh samples by rank."""

    def __post_init__(self) -> None:
        if self.folds < 2 or not self.c > 0:
            raise BadSetting(f"folds={self.folds}, c={self.c:g}: give 2 or more, more than 0.")
        if any("stacked" in name for name, _ in self.parsed):
            raise BadSetting("A stacked head is no member of one.")

    @property
    def parsed(self) -> list[tuple[str, dict[str, str]]]:
        """Head and settings of each member."""
        found = []
        for text in self.members.split("+"):
            name, *settings = text.strip().split(":")
            pairs = [each.partition("=") for each in settings]
            if not all(equals for _, equals, _ in pairs):
                raise BadSetting(f"members={self.members!r}: give HEAD:name=value+HEAD.")
            found.append((name, {key: value for key, _, value in pairs}))
        return found


class Stacked(Head):
    """See the module."""

    name = "stacked"
    Config = StackedConfig
    SPACE: ClassVar[Space] = {
        "c": Range(low=1e-3, high=100.0, log=True),
        "rank_loss": OneOf(("true", "false")),
    }
    config: StackedConfig

    def __init__(self, config: StackedConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        self._members = self._made()
        self._weights: dict[str, torch.Tensor] = {}
        self.lazy = tuple(sorted({key for head in self._members for key in head.lazy}))

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key for head in self._members for key in head.keys))

    def fit(
        self,
        train: Table,
        validation: Table,
        *,
        seed: int = 0,
        device: str = "cpu",
        on_epoch: OnEpoch | None = None,
    ) -> FitReport:
        with timed_report(self, validation) as report:
            check_table(train, self.keys, "training")
            check_labels(train, "training")
            said = self._out_of_fold(train, validation, seed, device)
            for head in self._members:
                head.fit(train, validation, seed=seed, device=device)
            self._weigh(said, train.labels)
        return report()

    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored")
        if not self._weights:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        x = torch.from_numpy(_logs(list(self.parts(table).values())))
        return arrays.softmax_numpy(x @ self._weights["weight"].T + self._weights["bias"])

    def parts(self, table: Table) -> Mapping[str, Probabilities]:
        names = [name for name, _ in self.config.parsed]
        return {
            name if names.count(name) == 1 else f"{name} {number + 1}": head.predict(table)
            for number, (name, head) in enumerate(zip(names, self._members, strict=True))
        }

    def save(self, folder: Path) -> None:
        if not self._weights:
            raise BadSetting("This head is not trained yet; there is nothing to save.")
        arrays.save_tensors(folder / "head.safetensors", self._weights)
        for number, head in enumerate(self._members):
            (folder / f"member{number}").mkdir(exist_ok=True)
            head.save(folder / f"member{number}")

    def load(self, folder: Path) -> None:
        path, columns = folder / "head.safetensors", len(self.classes) * len(self._members)
        wanted = {
            "weight": torch.zeros(len(self.classes), columns),
            "bias": torch.zeros(len(self.classes)),
        }
        arrays.filled(arrays.load_tensors(path), wanted, path)
        self._weights = wanted
        for number, head in enumerate(self._members):
            head.load(folder / f"member{number}")

    def _out_of_fold(self, train: Table, validation: Table, seed: int, device: str) -> Floats:
        """(n, views, members x classes): logarithms of what each says of videos that it does not
        know."""
        rarest = int(np.bincount(train.labels)[np.unique(train.labels)].min())
        numbers = fold_numbers(train.ids, train.labels, min(self.config.folds, rarest), None, seed)
        found: Floats | None = None
        for fold in range(numbers.max() + 1):
            out, heads = numbers == fold, self._made()
            for head in heads:
                head.fit(train.take(~out), validation, seed=seed, device=device)
            said = _logs([head.predict(train.take(out)) for head in heads])
            if found is None:
                found = np.zeros((len(train), *said.shape[1:]), np.float32)
            found[out] = said
        assert found is not None
        return found

    def _weigh(self, said: Floats, labels: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
        """A class without videos is never predicted."""
        from sklearn.linear_model import LogisticRegression  # a second to import

        views = said.shape[1]
        model = LogisticRegression(C=self.config.c, max_iter=1000)
        x, y = said.reshape(len(labels) * views, -1), np.repeat(labels, views)
        model.fit(x, y, sample_weight=np.full(len(y), 1 / views))
        weight = torch.zeros(len(self.classes), x.shape[1])
        bias = torch.full((len(self.classes),), -30.0)
        rows, offsets = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
            rows = np.stack([-rows[0], rows[0]]) / 2
            offsets = np.stack([-offsets[0], offsets[0]]) / 2
        weight[model.classes_.astype(int)] = torch.from_numpy(rows).float()
        bias[model.classes_.astype(int)] = torch.from_numpy(offsets).float()
        self._weights = {"weight": weight, "bias": bias}

    def _made(self) -> list[Head]:
        """Untrained members."""
        found = []
        for name, own in self.config.parsed:
            fields = head_class(name).Config.__dataclass_fields__
            passed = {key: str(getattr(self.config, key)) for key in _PASSED_ON if key in fields}
            found.append(make_head(name, {**passed, **own}, self.classes))
        return found


def _logs(each: Sequence[Probabilities]) -> Floats:
    return np.asarray(np.log(np.concatenate(each, -1).clip(_SMALLEST)), np.float32)


HEAD = Stacked
