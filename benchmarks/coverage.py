"""Do numbers hold what they say? `python -m benchmarks.coverage [--draws 400] [--ablations 100]`.

On made-up videos whose truth is known: how often 95% intervals hold it, how often sets of classes
hold the truth where validation is the most obvious fifth (as in HFV), how often an ablation of
nothing claims something, and how often a gain is found with as many videos as an ablation says it
needs. Prints one JSON line; shares of draws come with their 95% Wilson intervals.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import stats

from heads.judging import two_way
from heads.measuring import curves, intervals
from heads.measuring.intervals import Interval
from heads.measuring.metrics import Floats, Labels, averaged
from heads.zoo.fusion import Fusion, FusionConfig
from tests.test_heads.tables import CLASSES, table
from tests.test_heads.test_conformal import coverage_on_a_split_like_hfvs

SIZES = ((10, 10), (30, 30), (10, 190), (200, 200), (10, 990), (1000, 1000))
MANY = ((10, 10, 10, 10), (10, 40, 40, 110), (100, 100, 100, 100), (500, 500, 500, 500))
SIGNALS = (0.7, 1.5, 2.5)
SEEDS = 3
Drawn = Callable[[int], Interval]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--ablations", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, object] = {
        "intervals": interval_coverage(given.draws),
        "sets of classes on a split like HFV's": set_coverage(max(given.ablations // 10, 2)),
        "ablations": ablations(given.ablations),
    }
    print(json.dumps(found))
    return 0


def interval_coverage(draws: int) -> dict[str, object]:
    """By number: the mean share over settings, and the lowest."""
    shares: dict[str, list[float]] = {}
    for counts in SIZES:
        for signal in SIGNALS:
            for name, (true, draw) in two_classes(counts, signal).items():
                shares.setdefault(name, []).append(inside(true, draw, draws))
    for many in MANY:
        for signal in SIGNALS:
            for name, (true, draw) in four_classes(many, signal).items():
                shares.setdefault(name, []).append(inside(true, draw, draws))
    return {
        name: {
            "settings": len(each), "draws each": draws, "mean": round(float(np.mean(each)), 4),
            "lowest": round(min(each), 4), "highest": round(max(each), 4),
        }
        for name, each in shares.items()
    }  # fmt: skip


def inside(true: float, draw: Drawn, draws: int) -> float:
    found = [draw(seed) for seed in range(draws)]
    return float(np.mean([one.low <= true <= one.high for one in found]))


def two_classes(counts: tuple[int, int], signal: float) -> dict[str, tuple[float, Drawn]]:
    """Normal scores: what is true of them is known, or follows from a million."""

    def scores(seed: int, scale: int = 1) -> tuple[Floats, Floats]:
        random = np.random.default_rng((seed, *counts))
        rest, hits = (random.normal(size=scale * n) for n in counts)
        return rest, hits + signal

    large = scores(10**6, max(1, 200_000 // sum(counts)))
    names = ("real", "generated")

    def auc(seed: int) -> Interval:
        rest, hits = scores(seed)
        positive = np.arange(len(rest) + len(hits)) >= len(rest)
        return intervals.auc(np.concatenate([rest, hits]), positive, names)

    def by(statistic: intervals.Statistic) -> tuple[float, Drawn]:
        return float(statistic(*large)), lambda seed: intervals.bootstrap(
            statistic, scores(seed), names
        )

    found: dict[str, tuple[float, Drawn]] = {
        "AUC": (float(stats.norm.cdf(signal / np.sqrt(2))), auc),
        "average precision": by(curves.average_precision),
        "equal error rate": by(curves.equal_error_rate),
    }
    if counts[0] >= 300:
        true = float(stats.norm.sf(stats.norm.isf(0.01) - signal))
        found["found at 1% false alarms"] = (
            true, lambda seed: curves.found_at(*scores(seed), share=0.01),
        )  # fmt: skip
    return found


def four_classes(counts: tuple[int, ...], signal: float) -> dict[str, tuple[float, Drawn]]:
    def scores(seed: int, scale: int = 1) -> tuple[Floats, Labels]:
        labels = np.repeat(np.arange(4), [scale * n for n in counts])
        random = np.random.default_rng((seed, *counts))
        return random.normal(size=(len(labels), 4)) + signal * np.eye(4)[labels], labels

    large = scores(10**6, max(1, 200_000 // sum(counts)))
    return {
        "macro AUC": (
            intervals.macro_auc_interval(*large).value,
            lambda seed: intervals.macro_auc_interval(*scores(seed)),
        ),
        "macro F1": (
            intervals.f1(*large, CLASSES).value, lambda seed: intervals.f1(*scores(seed), CLASSES),
        ),
        "accuracy": (
            intervals.accuracy(*large).value, lambda seed: intervals.accuracy(*scores(seed)),
        ),
    }  # fmt: skip


def set_coverage(repeats: int) -> dict[str, object]:
    """Promised 95, 90 and 80%."""
    found = np.array([coverage_on_a_split_like_hfvs(repeat) for repeat in range(repeats)])
    mean, error = found.mean(0), found.std(0, ddof=1) / np.sqrt(repeats)
    covered = {
        f"promised {rate}": [round(float(number), 4) for number in numbers]
        for rate, *numbers in zip(("0.95", "0.9", "0.8"), mean, error, strict=True)
    }
    return {"repeats": repeats, "covered, standard error": covered}


def ablations(count: int) -> dict[str, object]:
    """Nothing is the same settings with other seeds; a gain is depth that knows a bit."""
    videos = 120
    nothing = [ablated(repeat, videos, 0.0, 0.0) for repeat in range(count)]
    pilots = [ablated(10_000 + repeat, videos, 0.0, 0.28) for repeat in range(max(count // 10, 3))]
    gain = float(np.mean([one.value for one in pilots]))
    needed = [one.needed(gain) for one in pilots]
    enough = int(np.median([n if n is not None else 10**5 for n in needed]))
    large = [ablated(20_000 + repeat, enough, 0.0, 0.28) for repeat in range(count)]
    return {
        "of nothing": {
            "videos": videos, "seeds": SEEDS, "claims": share([one.p < 0.05 for one in nothing]),
        },
        "of a gain": {
            "points of AUC": round(100 * gain, 2), "videos it says it needs": enough,
            "found": share([one.p < 0.05 for one in large]),
        },
    }  # fmt: skip


def ablated(repeat: int, videos: int, before: float, after: float) -> two_way.Spread:
    """Two rows of three seeds, judged on new videos; other seeds in each row."""
    runs, labels = [], np.zeros(0, np.int64)
    for row, depth_signal in enumerate((before, after)):
        made = [
            table(n, 1, seed=1000 * repeat + part, video_signal=0.6, depth_signal=depth_signal)
            for part, n in enumerate((200, 80, videos))
        ]
        labels = made[2].labels.astype(np.int64)
        heads = []
        for seed in range(SEEDS):
            config = FusionConfig(epochs=15, lr=3e-3, hidden=12)
            head = Fusion(config, CLASSES)
            head.fit(made[0], made[1], seed=100 * row + seed)
            heads.append(averaged(head.predict(made[2])))
        runs.append(heads)
    return two_way.difference("auc", runs[1], runs[0], labels, CLASSES)


def share(hits: Sequence[bool]) -> dict[str, object]:
    found = intervals.wilson(int(np.sum(hits)), len(hits))
    return {
        "of": found.n, "share": round(found.value, 4), "low": round(found.low, 4),
        "high": round(found.high, 4),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
