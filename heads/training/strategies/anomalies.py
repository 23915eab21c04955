"""Several anomalies in one video: each is told from `real` by itself, by a sigmoid of its own.

The loss asks of each anomaly's logit less that of `real` whether the anomaly is there; the answer
for the video's own label is yes, for real videos always no. Which others there are is in the ledger
that `telltale label` writes (`ledger=labels.csv`, column `also`: another prior ranks the video
among its most anomalous too). Without a ledger the others are taken for absent. Probabilities stay
those of one class.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from heads.errors import BadSetting
from heads.training.strategy import Lesson, Step, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomaliesOptions:
    """How much it counts, and where other anomalies are known from."""

    share: float = 1.0
    """Of the loss; the rest is plain. 0: plain training."""
    ledger: str = ""
    """A labels.csv of `telltale label`."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise BadSetting(f"share={self.share:g}: give 0 to 1.")


class Anomalies(Strategy):
    """See the module."""

    name = "anomalies"
    Options = AnomaliesOptions
    takes_mixup = False
    options: AnomaliesOptions

    def __init__(self, options: AnomaliesOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        classes, real = self.samples.classes, self.samples.real
        if real is None or len(classes) < 3:
            raise BadSetting(
                f"Strategy anomalies needs 'real' and two anomalies or more; the classes are "
                f"{', '.join(classes)}."
            )
        self._real = real
        self._others = [place for place in range(len(classes)) if place != real]
        self.there = functional.one_hot(self.samples.told.targets, len(classes)).float()
        """(videos, classes): which anomalies each video has."""
        if options.ledger:
            self._read(Path(options.ledger))

    def combined(self, logits: Tensor, step: Step) -> Tensor:
        plain = super().combined(logits, step)
        if not self.options.share:
            return plain
        margins = logits[:, self._others] - logits[:, self._real, None]
        there = self.there[self.tensor(step.batch.rows)][:, self._others]
        losses = functional.binary_cross_entropy_with_logits(margins, there, reduction="none")
        own = (losses.sum(1) * step.told.weights).mean()
        return torch.lerp(plain, own, self.options.share)

    def _read(self, path: Path) -> None:
        try:
            with path.open(newline="") as file:
                also = {row["id"]: row["also"] for row in csv.DictReader(file)}
        except (OSError, KeyError, csv.Error) as error:
            raise BadSetting(
                f"{path} is no ledger with columns id and also ({error}); `telltale label` writes "
                f"labels.csv."
            ) from error
        for row, video in enumerate(self.samples.ids):
            for name in filter(None, also.get(str(video), "").split("+")):
                if name not in self.samples.classes:
                    raise BadSetting(f"{path} names {name!r} of {video}, which is no class.")
                self.there[row, self.samples.classes.index(name)] = 1


STRATEGY = Anomalies
