"""What a result must beat to mean anything, for the very videos that were judged.

Facts alone: a readout of the files' facts, cross-validated on these videos. Real against real: how
far the head's own verdict tells the real sources apart, which it should not. Copies: how many of
these videos look like one of the store's training videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from features_store import facts
from features_store.errors import UnknownKey
from features_store.store import Store
from heads.data.splits import TRAIN, in_split
from heads.judging.audit import NAMES, SMALL_LEAK
from heads.judging.duplicates import Copies, copies, hashes
from heads.judging.fact_cells import LEVEL, Told, common, judged, varying
from heads.measuring.metrics import REAL, Floats

FEWEST_REALS = 10
"""Of each source, for real against real."""
_PERMUTATIONS = 199
"""One test, not corrected for others, needs no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealsApart:
    """How far a score tells one real source from the others."""

    source: str
    """The one that stands out most."""
    auc: float
    """Folded: 0.5 is nothing."""
    p: float
    """By permuting the sources, for the largest over all of them."""
    videos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """None where the store lacks what is needed; `missing` says what."""

    facts: Told | None
    reals: RealsApart | None
    copies: Copies | None
    missing: tuple[str, ...]

    def lines(self) -> list[str]:
        found = []
        if self.facts is not None:
            one = self.facts
            words = "more than chance" if one.p <= LEVEL else "no more than chance"
            if one.p > LEVEL and one.noticed > SMALL_LEAK:
                words = "too few videos to tell it from chance"
            found.append(
                f"facts about the files alone: accuracy {one.accuracy:.1%}, AUC {one.auc:.3f}, "
                f"{one.videos} videos, p {one.p:.3f}: {words}"
            )
        if self.reals is not None:
            far = self.reals
            found.append(
                f"real against real: this head's p({REAL}) tells {far.source} from the other real "
                f"videos with AUC {far.auc:.3f} (0.5 is nothing), p {far.p:.3f}, {far.videos} "
                f"videos"
            )
        if self.copies is not None:
            found.append(
                f"copies: {self.copies.videos} of {self.copies.looked_at} judged videos look like "
                f"one of split {TRAIN}"
            )
        return [f"floor, {line}" for line in found] + [f"floor, {why}" for why in self.missing]

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"lines": self.lines()}
        if self.facts is not None:
            document["facts alone"] = {
                "accuracy": self.facts.accuracy, "auc": self.facts.auc, "p": self.facts.p,
                "videos": self.facts.videos, "chance": self.facts.chance,
            }  # fmt: skip
        if self.reals is not None:
            far = self.reals
            document["real against real"] = {
                "source": far.source, "auc, folded": far.auc, "p": far.p, "videos": far.videos
            }  # fmt: skip
        if self.copies is not None:
            document["copies of training videos"] = {
                "videos": self.copies.videos, "of": self.copies.looked_at
            }  # fmt: skip
        return document


def floors(
    store: Store,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    means: Floats,
    classes: Sequence[str],
) -> Floors:
    """`rows` are the judged videos' in the store, `means` what was said of them."""
    missing: list[str] = []
    found = _facts(store, rows, labels, missing)
    reals = _reals(store, rows, labels, means, classes)
    if reals is None:
        missing.append(
            f"real against real: not to be had, it needs {FEWEST_REALS} real videos of each of "
            f"two sources"
        )
    looked = hashes(store)
    training = in_split(store, TRAIN)
    near = None
    if looked is None or not training.any():
        lacking = "hashes of frames" if looked is None else f"videos of split {TRAIN}"
        missing.append(f"copies: not looked for, the store has no {lacking}")
    else:
        inside = np.zeros(len(looked), bool)
        inside[rows] = True
        near = copies(looked, inside, training)
    return Floors(facts=found, reals=reals, copies=near, missing=tuple(missing))


def reals_apart(scores: Floats, sources: NDArray[np.generic], seed: int = 0) -> RealsApart | None:
    """The real source that a score singles out most. None with fewer than two that are enough."""
    names, counts = np.unique(sources, return_counts=True)
    names = names[counts >= FEWEST_REALS]
    if len(names) < 2:
        return None
    inside = np.isin(sources, names)
    member = (sources[inside][:, None] == names).astype(np.float64)
    ranks = rankdata(scores[inside])
    random = np.random.default_rng(seed)
    shuffled = (random.permutation(len(ranks)) for _ in range(_PERMUTATIONS))
    orders = [np.arange(len(ranks)), *shuffled]
    hits = member.sum(0)
    sums = ranks[np.stack(orders)] @ member
    areas = (sums - hits * (hits + 1) / 2) / (hits * (len(ranks) - hits))
    folded = np.maximum(areas, 1 - areas)
    most = folded.max(1)
    return RealsApart(
        source=str(names[folded[0].argmax()]), auc=float(most[0]), videos=len(ranks),
        p=float((most >= most[0] - 1e-12).mean()),
    )  # fmt: skip


def _facts(
    store: Store, rows: NDArray[np.int64], labels: NDArray[np.int64], missing: list[str]
) -> Told | None:
    try:
        known = facts.read(store)
    except UnknownKey:
        missing.append("facts alone: not to be had, the store holds no facts about its files")
        return None
    there = ~np.isnan(known["frames"][rows])
    there[there] = common(labels[there], [])[0]
    columns, _ = varying({name: known[name][rows][there] for name in NAMES})
    if not columns or len(np.unique(labels[there])) < 2:
        missing.append("facts alone: nothing to tell classes by, or too few videos")
        return None
    inside = np.ones(int(there.sum()), bool)
    return judged(columns, labels[there], inside, permutations=_PERMUTATIONS)


def _reals(
    store: Store,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    means: Floats,
    classes: Sequence[str],
) -> RealsApart | None:
    if REAL not in classes:
        return None
    label = list(classes).index(REAL)
    real = labels == label
    return reals_apart(means[real, label], store.videos.column("source")[rows[real]])
