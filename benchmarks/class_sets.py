"""What the score of class-wise conformal sets is worth, by probability, as bundles have it, and by
adaptive sums (APS, RAPS): `python -m benchmarks.class_sets [--repeats 200]`.

Made-up verdicts: half of 1,000 calibrating and 1,500 judged videos are real, 6% are of the rarest
class, and an anomaly shows less the higher its rank. All three get a threshold for each class, so
coverage is alike; what differs is how many classes a set has, and whether it is empty where the
verdict is surest, which would read as "unsure" at 97%.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks import measure
from heads.measuring import conformal
from heads.measuring.metrics import Floats, Labels
from tests.test_heads.tables import CLASSES

SHARES = (0.22, 0.22, 0.06, 0.5)
SURE = 0.97
PENALTY = 0.05
"""RAPS: of each class beyond the likeliest."""
Sets = NDArray[np.bool_]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    given = parser.parse_args()
    ways: dict[str, Callable[[Floats, Floats], Floats]] = {
        "probability (kept)": lambda shares, _: shares,
        "APS, randomised": lambda shares, lot: -adaptive(shares, lot, 0.0),
        "RAPS, randomised": lambda shares, lot: -adaptive(shares, lot, PENALTY),
    }
    rows: list[measure.Row] = []
    for rate in conformal.ERROR_RATES:
        for name, score in ways.items():
            numbers = np.array([judged(score, rate, repeat) for repeat in range(given.repeats)])
            mean, error = numbers.mean(0), numbers.std(0, ddof=1) / math.sqrt(given.repeats)
            rows.append({
                "what": f"{100 * (1 - rate):g}% promised", "by": name, "repeats": given.repeats,
                "covered": mean[0], "worst class covered": float(mean[1:5].min()),
                "classes in a set": mean[5], "error of that": error[5],
                "empty where surest": mean[6],
            })  # fmt: skip
    measure.report("class_sets", rows)
    return 0


def judged(score: Callable[[Floats, Floats], Floats], rate: float, repeat: int) -> list[float]:
    """Covered in all and by class, size of a set, how many are empty among the surest."""
    calibrating, judging = (made(n, (repeat, n)) for n in (1000, 1500))
    scores = [score(shares, lot) for shares, _, lot in (calibrating, judging)]
    limits = conformal.class_thresholds(scores[0] + 9, calibrating[1], CLASSES, rate)
    found = conformal.sets(scores[1] + 9, limits, CLASSES)  # 9: thresholds begin at 0
    shares, labels, _ = judging
    inside = found[np.arange(len(labels)), labels]
    each = [float(inside[labels == c].mean()) for c in range(len(CLASSES))]
    empty = float((~found[shares.max(1) > SURE].any(1)).mean())
    return [float(inside.mean()), *each, float(found.sum(1).mean()), empty]


def made(videos: int, seed: tuple[int, int]) -> tuple[Floats, Labels, Floats]:
    random = np.random.default_rng(seed)
    labels = random.choice(len(CLASSES), videos, p=SHARES)
    seen = np.where(labels == CLASSES.index("real"), 0.5, random.uniform(size=videos))
    logits = random.normal(size=(videos, 4)) + 3.2 * seen[:, None] * np.eye(4)[labels]
    shares = np.exp(1.4 * logits)
    return shares / shares.sum(1, keepdims=True), labels, random.uniform(size=videos)


def adaptive(shares: Floats, lot: Floats, penalty: float) -> Floats:
    """Of each class: the likelier classes' sum, and a lot's share of its own."""
    order = np.argsort(-shares, 1)
    own = np.take_along_axis(shares, order, 1)
    sums = own.cumsum(1) - own * lot[:, None] + penalty * np.arange(shares.shape[1])
    found = np.empty_like(sums)
    np.put_along_axis(found, order, sums, 1)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
