"""Persons with something wrong: verdicts on parts, on persons, on the video (VBench-2.0).

`readout=own` takes the scores that the branch's own networks give, as released, and learns
nothing. `readout=trained` learns a linear layer for each part on the branch's vectors, from whole
videos or from pictures that are single crops. `score` says what becomes of the persons of a video:
`persons` (the share of normal ones, as released), `frames` (the mean of the frames' shares, as the
README says) or `worst` (how far the worst part is above its threshold; this one ranks videos). A
video with nobody in it has no verdict, unless `nobody=normal`, as released: perfect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from features_store.table import Table
from heads.errors import BadBundle, BadSetting
from heads.head import FitReport, Head, OnEpoch, Probabilities, check_labels, check_table
from heads.measuring.intervals import Interval, auc
from heads.measuring.metrics import REAL
from heads.parts import arrays, person_verdicts
from heads.parts.part_probes import PartProbes
from heads.parts.pooled import timed_report
from heads.parts.space import OneOf, Range, Space

TRAINED = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnatomyConfig:
    """What there is to set."""

    readout: Literal["own", "trained"] = "trained"
    """Whose scores: the networks' own last layers, or layers that are trained here."""
    score: Literal["persons", "frames", "worst"] = "persons"
    """What a video's score is made of."""
    nobody: Literal["nothing", "normal"] = "nothing"
    """What a video without persons is."""
    abnormal_class: int = 0
    """Which of the networks' two logits says abnormal; 0 in the released ones. (Labels are named
    by their scheme.)"""
    human: float | None = None
    """Threshold for persons; none: the released one, or one half where layers are trained."""
    face: float | None = None
    hand: float | None = None
    branch: str = "anatomy"
    """The branch whose arrays are read."""
    c: float = 0.01
    """Inverse strength of the L2 penalty of what is trained; a video's crops count as one."""

    def __post_init__(self) -> None:
        limits = [x for x in (self.human, self.face, self.hand) if x is not None]
        if not all(0 < limit < 1 for limit in limits) or not self.c > 0:
            raise BadSetting(f"Thresholds {limits}, c={self.c:g}: give 0 to 1, and c above 0.")
        if self.abnormal_class not in (0, 1):
            raise BadSetting(f"abnormal_class={self.abnormal_class}: give 0 or 1.")

    @property
    def thresholds(self) -> tuple[float, ...]:
        known = person_verdicts.RELEASED if self.readout == "own" else TRAINED
        given = (self.human, self.face, self.hand)
        return tuple(k if g is None else g for g, k in zip(given, known, strict=True))


class Anatomy(Head):
    """See the module."""

    name = "anatomy"
    Config = AnatomyConfig
    SPACE: ClassVar[Space] = {
        "score": OneOf(("persons", "frames", "worst")),
        "c": Range(low=1e-4, high=1.0, log=True),
    }
    config: AnatomyConfig
    _probes: PartProbes | None = None
    _shares: NDArray[np.float64] | None = None
    """Of the classes that are not real; 0 for real."""

    def __init__(self, config: AnatomyConfig, classes: Sequence[str]) -> None:
        super().__init__(config, classes)
        if REAL not in self.classes:
            have = ", ".join(self.classes)
            raise BadSetting(f"anatomy tells {REAL!r} from the rest; the classes are {have}.")

    @property
    def keys(self) -> tuple[str, ...]:
        own = "logits" if self.config.readout == "own" else "vectors"
        return tuple(f"{self.config.branch}/{name}" for name in (own, "person"))

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
            real = train.labels == self.classes.index(REAL)
            counts = np.bincount(train.labels[~real], minlength=len(self.classes)).astype(float)
            self._shares = counts / counts.sum()
            if self.config.readout == "trained":
                vectors, there = self._read(train)
                self._probes = PartProbes.learnt(vectors, there, ~real, self.config.c)
        found = report()
        return FitReport(
            metric=found.metric, best=found.best, best_epoch=0, seconds=found.seconds,
            notes=self._both_ways(validation if len(validation) else train),
        )  # fmt: skip

    def predict(self, table: Table) -> Probabilities:
        check_table(table, self.keys, "scored")
        if self._shares is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        scores, there = self.scores(table)
        limits = self.config.thresholds
        person = np.asarray(there.any(-1))
        wrong = person_verdicts.abnormal(scores, there, limits)
        real = {
            "persons": lambda: person_verdicts.share_of_persons(wrong, person),
            "frames": lambda: person_verdicts.share_of_frames(wrong, person),
            "worst": lambda: 1 - person_verdicts.worst(scores, there, limits),
        }[self.config.score]()
        if self.config.nobody == "normal":
            real = np.where(np.isnan(real), 1.0, real)
        found = (1 - real[..., None]) * self._shares
        found[..., self.classes.index(REAL)] = real
        return found.astype(np.float32)

    def scores(self, table: Table) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(n, V, f, p, k): how abnormal each part is, 0 to 1; and which there are."""
        numbers, there = self._read(table)
        if self.config.readout == "own":
            logits = torch.from_numpy(numbers).float()
            found: NDArray[np.float32] = logits.softmax(-1)[..., self.config.abnormal_class].numpy()
            return found, there
        if self._probes is None:
            raise BadSetting("This head is not trained yet; fit it, or load a bundle.")
        return self._probes.scores(numbers), there

    def _read(self, table: Table) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        key, person = self.keys
        return np.asarray(table.arrays[key]), np.asarray(table.arrays[person]) >= 0

    def _both_ways(self, table: Table) -> tuple[str, ...]:
        """The area under the curve as labelled, and if labels mean the opposite."""
        scores, there = self.scores(table)
        most = person_verdicts.worst(scores, there, self.config.thresholds)
        seen = np.isfinite(most)
        if not seen.any():
            return ("nobody was found in any of these videos",)
        mean = np.nanmean(np.where(seen.any(1, keepdims=True), most, 0), 1)[seen.any(1)]
        generated = table.labels[seen.any(1)] != self.classes.index(REAL)
        if len(np.unique(generated)) < 2:
            return ()
        names = (REAL, "abnormal")
        ways = (auc(mean, generated, names), auc(-mean, generated, names))
        line = (
            f"AUC of the worst part {_said(ways[0])}, if labels mean the opposite {_said(ways[1])}"
        )
        return (f"{line} ({len(mean)} videos)",)

    def save(self, folder: Path) -> None:
        if self._shares is None:
            raise BadSetting("This head is not trained yet; there is nothing to save.")
        probes = {} if self._probes is None else self._probes.tensors()
        arrays.save_tensors(
            folder / "head.safetensors", {"shares": torch.from_numpy(self._shares), **probes}
        )

    def load(self, folder: Path) -> None:
        path = folder / "head.safetensors"
        found = arrays.load_tensors(path)
        shares = found.pop("shares", torch.zeros(0)).numpy()
        if shares.shape != (len(self.classes),):
            raise BadBundle(f"{path} is no anatomy head of {len(self.classes)} classes.")
        if self.config.readout == "trained":
            self._probes = PartProbes.restored(found, path)
        self._shares = shares


def _said(found: Interval) -> str:
    """With its interval, or without one of too few videos."""
    between = f" [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return f"{100 * found.value:.1f}{between if np.isfinite(found.low) else ' [too few to say]'}"


HEAD = Anatomy
