"""VidAudit's protocol (arXiv 2606.31004) on a table of features or one column of scores.

A fixed readout is trained with one generator left out and judged on that generator; the same
readout is then asked to tell two *real* sources apart, which no detector of generated videos
should. Generated is the positive class. Splits, seeds and arithmetic are the published ones, so
that numbers can be compared; the one thing that is not taken over is in `margin`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from heads.errors import BadTable

SEED, TEST_SHARE, BINS, PARTIAL = 42, 0.2, 10, 0.1
CAUGHT, MARGINAL, WEAK = 0.70, 0.10, 0.15
USABLE, COLLAPSES = 0.50, 0.05
FEWEST_REALS = 1_000
"""Below them a true-positive rate at 0.1% false alarms is one at none."""
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """One generator that was left out."""

    auc: float
    seen_auc: float
    """Of a readout that learnt from this very generator."""
    reals: int
    videos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What VidAudit reports, means over the generators left out."""

    generators: Mapping[str, Unseen]
    unseen: float
    seen: float
    reals_apart: float | None
    """AUC between real sources, as released: not folded for features. None with one source."""
    partial_auc: float
    tpr_1: float
    tpr_01: float
    brier: float
    calibration_error: float
    probabilities: Mapping[str, tuple[NDArray[np.int64], Floats]]
    """Per generator left out: truth (1 generated) and what was said."""

    def margin(self, *, folded: bool = True) -> float | None:
        """How much better than telling reals apart. The release does not fold the latter, so that
        an AUC of 0.35 between reals *raises* its margin; `folded=False` gives that number."""
        if self.reals_apart is None:
            return None
        apart = max(self.reals_apart, 1 - self.reals_apart) if folded else self.reals_apart
        return self.unseen - apart


def audit_features(features: Floats, sources: Sequence[str], real: NDArray[np.bool_]) -> Audited:
    """`features` are (n, d), NaN where unknown; `sources` name generators and real data sets."""
    known = np.isfinite(features).any(1)
    names = np.array(sources, dtype=object)[known]
    return _audited(np.where(np.isfinite(features), features, np.nan)[known], names, real[known])


def audit_score(score: Floats, sources: Sequence[str], real: NDArray[np.bool_]) -> Audited:
    """The same test videos; nothing is learnt."""
    return _audited(score, np.array(sources, dtype=object), real)


def verdict(unseen: float, reals_apart: float) -> str:
    """caught, marginal, weak or certified."""
    if reals_apart >= CAUGHT:
        return "caught"
    margin = unseen - reals_apart
    return "marginal" if margin < MARGINAL else "weak" if margin < WEAK else "certified"


def tier(tpr_01: float) -> str:
    """usable, marginal or collapses, by the rate at 0.1% false alarms."""
    return "usable" if tpr_01 >= USABLE else "collapses" if tpr_01 < COLLAPSES else "marginal"


def partial_auc(truth: NDArray[np.int64], said: Floats) -> float:
    """Up to 10% false alarms, McClish's standardisation: 0.5 is nothing, 1 is all."""
    return float(roc_auc_score(truth, said, max_fpr=PARTIAL))


def tpr_at(truth: NDArray[np.int64], said: Floats, rate: float) -> float:
    """The largest true-positive rate whose false-alarm rate is at most this."""
    false, true, _ = roc_curve(truth, said)
    return float(true[false <= rate].max())


def calibration_error(truth: NDArray[np.int64], said: Floats) -> float:
    """Ten equal bins of the probability of *generated*; the first is closed on both sides."""
    edges = np.linspace(0, 1, BINS + 1)
    total = 0.0
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = (said > low) & (said <= high)
        inside |= (said == low) & (number == 0)
        if inside.any():
            total += inside.mean() * abs(truth[inside].mean() - said[inside].mean())
    return float(total)


def _audited(values: Floats, sources: NDArray[np.object_], real: NDArray[np.bool_]) -> Audited:
    generators = sorted(set(sources[~real].tolist()))
    if not generators or not real.any():
        raise BadTable("VidAudit needs real videos and one generator or more.")
    reals = _parted(np.flatnonzero(real))
    parts = {name: _parted(np.flatnonzero(~real & (sources == name))) for name in generators}
    found, said = {}, {}
    for name in generators:
        test = np.concatenate([reals[1], parts[name][1]])
        truth = (~real[test]).astype(np.int64)
        others = [parts[other][0] for other in generators if other != name]
        unseen = _said(values, [reals[0], *(others or [parts[name][0]])], real, test)
        seen = _said(values, [reals[0], parts[name][0]], real, test)
        said[name] = (truth, unseen)
        found[name] = Unseen(
            auc=float(roc_auc_score(truth, unseen)), seen_auc=float(roc_auc_score(truth, seen)),
            reals=len(reals[1]), videos=len(parts[name][1]),
        )  # fmt: skip
    means = {
        "partial_auc": partial_auc,
        "tpr_1": lambda y, p: tpr_at(y, p, 0.01),
        "tpr_01": lambda y, p: tpr_at(y, p, 0.001),
        "brier": lambda y, p: float(((p - y) ** 2).mean()),
        "calibration_error": calibration_error,
    }
    return Audited(
        generators=found,
        unseen=float(np.mean([one.auc for one in found.values()])),
        seen=float(np.mean([one.seen_auc for one in found.values()])),
        reals_apart=_reals_apart(values, sources, real),
        probabilities=said,
        **{name: float(np.mean([f(*pair) for pair in said.values()])) for name, f in means.items()},
    )


def _parted(rows: Rows) -> tuple[Rows, Rows]:
    train, test = train_test_split(rows, test_size=TEST_SHARE, random_state=SEED)
    return train, test


def _said(values: Floats, train: Sequence[Rows], real: NDArray[np.bool_], test: Rows) -> Floats:
    """The probability of *generated*, or the given score itself."""
    if values.ndim == 1:
        return values[test]
    rows = np.concatenate(train)
    return _readout(values[rows], ~real[rows], values[test])


def _readout(train: Floats, positive: NDArray[np.bool_], test: Floats) -> Floats:
    readout: Pipeline = make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", max_iter=2000, random_state=SEED),
    )
    readout.fit(train, positive.astype(int))
    said: Floats = readout.predict_proba(test)[:, 1]
    return said


def _reals_apart(
    values: Floats, sources: NDArray[np.object_], real: NDArray[np.bool_]
) -> float | None:
    """The last real source by name against all others."""
    rows = np.flatnonzero(real)
    names = sorted(set(sources[rows].tolist()))
    if len(names) < 2:
        return None
    last = sources[rows] == names[-1]
    train, test = train_test_split(
        np.arange(len(rows)), test_size=TEST_SHARE, random_state=SEED, stratify=last
    )
    if values.ndim == 1:
        area = float(roc_auc_score(last[test], values[rows[test]]))
        return max(area, 1 - area)
    said = _readout(values[rows[train]], last[train], values[rows[test]])
    return float(roc_auc_score(last[test], said))
