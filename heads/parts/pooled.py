"""What heads without epochs share: their arrays, standardised columns, the report of a fit."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from features_store.table import Table
from heads.head import FitReport, Head, check_labels
from heads.measuring.metrics import averaged, measure
from heads.parts.arrays import ATTN, AVG, CHUNK, CLS, DEPTH

NONE = "no validation"
"""A fit's metric where every video is learnt from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """Mean 0, deviation 1; a column that never changes becomes 0."""

    mean: Tensor
    scale: Tensor

    @staticmethod
    def of(x: Tensor) -> "Standard":
        """Of the columns of (…, columns), part by part: there is never a copy of all of it."""
        parts = torch.split(x.flatten(0, -2), CHUNK)
        count = sum(len(part) for part in parts)
        mean = sum((part.sum(0, dtype=torch.float64) for part in parts), torch.zeros(())) / count
        squares = sum(((part.double() - mean).square().sum(0) for part in parts), torch.zeros(()))
        deviation = (squares / count).sqrt()
        scale = deviation.clamp_min(1e-12).reciprocal() * (deviation > 1e-12)
        return Standard(mean=mean.float(), scale=scale.float())

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "scale": self.scale}


class PooledHead(Head):
    """A head on pooled vectors: those that its config's `arrays` name, or HumanSAM's four, of
    which `depth` may be left out."""

    @property
    def keys(self) -> tuple[str, ...]:
        if self.config.arrays:
            return tuple(name.strip() for name in self.config.arrays.split(","))
        return (CLS, AVG, ATTN, DEPTH) if self.config.depth else (CLS, AVG, ATTN)


@contextmanager
def timed_report(head: Head, validation: Table) -> Iterator[Callable[[], FitReport]]:
    """Times the body; what is given back judges the head on the validation videos, where there
    are any: a head without epochs has nothing that they must decide."""
    check_labels(validation, "validation", several=False)
    start = time.perf_counter()
    seconds: list[float] = []

    def report() -> FitReport:
        if not len(validation):
            return FitReport(metric=NONE, best=math.nan, best_epoch=0, seconds=seconds[0])
        found = measure(averaged(head.predict(validation)), validation.labels, head.classes)
        best = found.accuracy if "auc" in found.undefined else found.auc
        name = "accuracy" if "auc" in found.undefined else "auc"
        return FitReport(metric=f"validation {name}", best=best, best_epoch=0, seconds=seconds[0])

    yield report
    seconds.append(time.perf_counter() - start)
