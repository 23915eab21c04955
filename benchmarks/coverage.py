"""How often 95% intervals and sets of classes hold the truth, on made-up videos where it is known:
`python -m benchmarks.coverage [--repeats 150] [--splits 40]`.

20 to 3,300 videos, rare classes among them. A line is one number of one kind of set, over three
strengths of the signal, which share their draws; the standard error beside it is of the draws of
one. Sets that cost seconds are drawn less often. What is true follows from the scores'
distribution, or from a very large set.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks import measure
from heads.judging import two_way
from heads.judging.papers import operating_point
from heads.measuring import curves, intervals, tests
from heads.measuring.metrics import Floats, Labels, area
from tests.test_heads.tables import CLASSES
from tests.test_heads.test_conformal import coverage_on_a_split_like_hfvs

TWO = ((10, 10), (30, 30), (10, 190), (190, 10), (200, 200), (10, 990), (990, 10), (1000, 1000))
FOUR = ((10, 10, 10, 10), (10, 40, 40, 110), (10, 10, 10, 970), (100,) * 4, (500,) * 4)
FEW_ALARMS = ((300, 20, 0.01), (1000, 1000, 0.01), (3000, 300, 0.001))
SIGNALS = (0.7, 1.5, 2.5)
NAMES = ("real", "generated")
LARGE = 100_000
"""Videos of the set that says what is true."""
MANY = 500
"""Videos of a set that is drawn less often, a quarter of the repeats."""
Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One number of one kind of set."""

    what: str
    videos: str
    true: float
    draw: Callable[[int], Bounds]
    share: float = 1.0
    """Of the repeats."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=150, help="draws of each set and signal")
    parser.add_argument(
        "--splits", type=int, default=40, help="repeats of the split like HFV's (0: none)"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    counted: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for case in cases():
        draws = max(1, round(given.repeats * case.share))
        ends = np.array([case.draw(seed) for seed in range(draws)])
        hits = int(((ends[:, 0] <= case.true) & (case.true <= ends[:, 1])).sum())
        counted.setdefault((case.what, case.videos), []).append((hits, draws))
    rows = [_row(what, videos, each) for (what, videos), each in counted.items()]
    if given.splits > 1:
        rows += sets_of_classes(given.splits)
    measure.report("coverage", rows, ("numpy", "scipy", "torch"))
    return 0


def _row(what: str, videos: str, each: Sequence[tuple[int, int]]) -> measure.Row:
    hits, draws = np.array(each).sum(0)
    covered = hits / draws
    return {
        "what": what, "of": f"{videos} videos", "draws": int(draws), "covered": float(covered),
        "error": math.sqrt(covered * (1 - covered) / max(d for _, d in each)),
        "with the worst signal": min(h / d for h, d in each),
    }  # fmt: skip


def cases() -> Iterator[Case]:
    for signal in SIGNALS:
        for pair in TWO:
            yield from two_classes(pair, signal)
        for rest, hits, share in FEW_ALARMS:
            yield few_alarms(rest, hits, share, signal)
        for many in FOUR:
            yield from four_classes(many, signal)
        for pair in TWO[:5]:
            yield from two_heads(pair, signal)
        for many in (*FOUR[:2], FOUR[3]):
            yield from over_seeds(many, signal)
    for reals in (20, 200, 2000):
        for alarms in (0.1, 0.2):
            yield promised(reals, alarms)


def two_classes(counts: tuple[int, int], signal: float) -> Iterator[Case]:
    """Normal scores of reals and of generated videos."""

    def scores(seed: int, scale: int = 1) -> tuple[Floats, Floats]:
        random = np.random.default_rng((seed, *counts))
        rest, hits = (random.normal(size=scale * n) for n in counts)
        return rest, hits + signal

    def auc(seed: int) -> Bounds:
        rest, hits = scores(seed)
        positive = np.arange(sum(counts)) >= len(rest)
        return _ends(intervals.auc(np.concatenate([rest, hits]), positive, NAMES))

    def by(name: str, statistic: intervals.Statistic, *, alike: bool = False) -> Case:
        share = 1.0 if sum(counts) < MANY else 0.25
        return Case(
            what=name, videos=videos, true=float(statistic(*large)), share=share,
            draw=lambda seed: _ends(
                intervals.bootstrap(statistic, scores(seed), NAMES, alike=alike)
            ),
        )  # fmt: skip

    videos, large = " + ".join(map(str, counts)), scores(10**6, LARGE // sum(counts))
    true = float(stats.norm.cdf(signal / math.sqrt(2)))
    yield Case(what="AUC", videos=videos, true=true, draw=auc)
    yield by("average precision", curves.average_precision)
    yield by("equal error rate", curves.equal_error_rate, alike=True)


def few_alarms(rest: int, hits: int, share: float, signal: float) -> Case:
    """What is found at 1% and 0.1% of false alarms."""

    def draw(seed: int) -> Bounds:
        random = np.random.default_rng((seed, rest, hits))
        made = random.normal(size=rest), random.normal(size=hits) + signal
        return _ends(curves.found_at(*made, share=share))

    true = float(stats.norm.sf(stats.norm.isf(share) - signal))
    what = f"found at {100 * share:g}% false alarms"
    return Case(what=what, videos=f"{rest} + {hits}", true=true, draw=draw)


def four_classes(counts: tuple[int, ...], signal: float) -> Iterator[Case]:
    def scores(seed: int, scale: int = 1) -> tuple[Floats, Labels]:
        labels = np.repeat(np.arange(4), [scale * n for n in counts])
        random = np.random.default_rng((seed, *counts))
        return random.normal(size=(len(labels), 4)) + signal * np.eye(4)[labels], labels

    large, labels = scores(10**6, LARGE // sum(counts))
    share = 1.0 if sum(counts) < MANY else 0.25
    made = {
        "macro AUC": (
            float(stats.norm.cdf(signal / math.sqrt(2))),
            lambda seed: intervals.macro_auc_interval(*scores(seed), CLASSES),
        ),
        "macro F1": (
            two_way.value_of("f1", large, labels), lambda seed: intervals.f1(*scores(seed), CLASSES)
        ),
        "accuracy": (
            two_way.value_of("accuracy", large, labels),
            lambda seed: intervals.accuracy(*scores(seed)),
        ),
    }  # fmt: skip
    for name, (true, found) in made.items():
        yield Case(
            what=name, videos=" + ".join(map(str, counts)), true=true, share=share,
            draw=lambda seed, found=found: _ends(found(seed)),  # type: ignore[misc]
        )  # fmt: skip


def two_heads(counts: tuple[int, int], signal: float) -> Iterator[Case]:
    """Two heads that see much the same, one a little better, on the same videos."""

    def scores(seed: int, scale: int = 1) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        forged = np.repeat([False, True], [scale * n for n in counts])
        random = np.random.default_rng((seed, *counts))
        shared = random.normal(size=len(forged))
        first, second = (
            gap * (forged - 0.5) + shared + 0.5 * random.normal(size=len(forged))
            for gap in (signal, signal + 0.3)
        )
        return first, second, forged

    def auc(seed: int) -> Bounds:
        first, second, forged = scores(seed)
        return _ends(tests.delong_binary(first, second, forged, NAMES).interval)

    def accuracy(seed: int) -> Bounds:
        first, second, forged = scores(seed)
        return _ends(tests.mcnemar((first > 0) == forged, (second > 0) == forged).interval)

    videos = " + ".join(map(str, counts))
    first, second, forged = scores(10**6, LARGE // sum(counts))
    gained = area(second, forged) - area(first, forged)
    yield Case(what="difference of AUCs", videos=videos, true=gained, draw=auc, share=0.5)
    right = ((second > 0) == forged).mean() - ((first > 0) == forged).mean()
    yield Case(what="difference of accuracies", videos=videos, true=float(right), draw=accuracy)


def over_seeds(counts: tuple[int, ...], signal: float, seeds: int = 5) -> Iterator[Case]:
    """Rows of an ablation: seeds differ as a whole and video by video."""

    def runs(seed: int, scale: int, many: int) -> tuple[list[Floats], list[Floats], Labels]:
        labels = np.repeat(np.arange(4), [scale * n for n in counts])
        random = np.random.default_rng((seed, *counts))
        shared, onehot = random.normal(size=(len(labels), 4)), np.eye(4)[labels]

        def row(strength: float) -> list[Floats]:
            own = 0.5 * random.normal(size=shared.shape)
            return [
                (strength + 0.1 * random.normal()) * onehot + shared + own
                + 0.3 * random.normal(size=shared.shape)
                for _ in range(many)
            ]  # fmt: skip

        return row(signal), row(signal + 0.25), labels

    before, after, labels = runs(10**6, max(1, 4_000 // sum(counts)), 200)
    videos = f"{' + '.join(map(str, counts))}"
    for metric in two_way.METRICS:
        old, new = (
            float(np.mean([two_way.value_of(metric, run, labels) for run in row]))
            for row in (before, after)
        )

        def gain(seed: int, metric: str = metric) -> Bounds:
            first, second, their = runs(seed, 1, seeds)
            found = two_way.difference(metric, second, first, their, CLASSES)
            return found.low, found.high

        def mean(seed: int, metric: str = metric) -> Bounds:
            _, second, their = runs(seed, 1, seeds)
            found = two_way.spread(metric, second, their, CLASSES)
            return found.low, found.high

        yield Case(what=f"{metric} over {seeds} seeds", videos=videos, true=new, draw=mean,
                   share=0.5)  # fmt: skip
        yield Case(what=f"gain in {metric} over {seeds} seeds", videos=videos, true=new - old,
                   draw=gain, share=0.5)  # fmt: skip


def promised(reals: int, alarms: float) -> Case:
    """What an operating point says of its true share of false alarms: here the threshold varies
    and the share with it, so that the interval is to hold it about 0."""

    def draw(seed: int) -> Bounds:
        found = operating_point(
            np.random.default_rng((seed, reals)).uniform(size=reals), alarms, "made up"
        )
        share = 1 - found.threshold
        return found.low - share, found.high - share

    return Case(what="false alarms of a threshold", videos=f"{reals}", true=0.0, draw=draw)


def sets_of_classes(repeats: int) -> Iterator[measure.Row]:
    """Where validation is the most obvious fifth, as in HFV."""
    found = np.array([coverage_on_a_split_like_hfvs(repeat) for repeat in range(repeats)])
    for place, rate in enumerate((0.05, 0.1, 0.2)):
        yield {
            "what": f"sets of classes, {100 * (1 - rate):g}% promised",
            "of": "1000 videos to calibrate, 1500 to judge, split like HFV's",
            "draws": repeats, "covered": float(found[:, place].mean()),
            "error": float(found[:, place].std(ddof=1) / math.sqrt(repeats)),
        }  # fmt: skip


def _ends(found: intervals.Interval) -> Bounds:
    return found.low, found.high


if __name__ == "__main__":
    raise SystemExit(main())
