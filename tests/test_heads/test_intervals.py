"""Intervals hold what they say, tests do not cry wolf, and what cannot be said is not said."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from heads.measuring import curves, intervals, tests
from heads.measuring.metrics import Floats, Labels
from tests.test_heads.tables import CLASSES


def scored(counts: tuple[int, ...], signal: float, seed: int) -> tuple[Floats, Labels]:
    """Scores of classes that overlap; two classes share one score."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    scores = random.normal(size=(len(labels), len(counts))) + signal * np.eye(len(counts))[labels]
    return (np.stack([-scores[:, 1], scores[:, 1]], 1) if len(counts) == 2 else scores), labels


def names(counts: tuple[int, ...]) -> tuple[str, ...]:
    return CLASSES[: len(counts)]


@pytest.mark.parametrize("videos", [20, 60, 200, 2000])
def test_wilson_covers_whatever_the_proportion(videos: int) -> None:
    hits = np.arange(videos + 1)
    found = [intervals.wilson(int(k), videos) for k in hits]
    low, high = (np.array([getattr(each, end) for each in found]) for end in ("low", "high"))
    covered = []
    for true in np.linspace(0.5, 0.99, 50):
        inside = (low <= true) & (true <= high)
        covered.append(float(stats.binom.pmf(hits, videos, true)[inside].sum()))
    assert 0.93 < np.mean(covered) < 0.97


@pytest.mark.parametrize(
    ("counts", "signal"),
    [((10, 10), 2.0), ((10, 10), 3.5), ((10, 490), 1.5), ((100, 100), 1.0),
     ((10, 40, 40, 110), 1.0), ((10, 10, 10, 10), 2.0), ((500, 500, 500, 500), 1.5)],
)  # fmt: skip
def test_an_auc_lies_in_its_interval_as_often_as_it_says(
    counts: tuple[int, ...], signal: float
) -> None:
    true = float(stats.norm.cdf(signal / math.sqrt(2)))  # of each class against the rest
    draws, inside = 300, 0
    for seed in range(draws):
        found = intervals.macro_auc_interval(*scored(counts, signal, seed), names(counts))
        inside += found.low <= true <= found.high
    # The share of so many draws is itself uncertain by up to 2.5 points.
    assert inside / draws > 0.915


def test_f1_average_precision_and_equal_error_rate_lie_in_theirs() -> None:
    draws, inside = 60, np.zeros(3)
    rest, hits = np.random.default_rng(1).normal(size=(2, 40_000))
    hits += 2
    whole, truth = scored((4000, 16_000, 16_000, 44_000), 1.5, 9)
    true = (
        float(curves.average_precision(rest[:10_000], hits)),
        float(curves.equal_error_rate(rest, hits)),
        intervals.f1(whole, truth, CLASSES).value,
    )
    for seed in range(draws):
        a, b = (np.random.default_rng((seed, k)).normal(size=n) for k, n in ((0, 20), (1, 80)))
        found = [
            intervals.bootstrap(statistic, [a, b + 2], ("real", "generated"))
            for statistic in (curves.average_precision, curves.equal_error_rate)
        ]
        found.append(intervals.f1(*scored((10, 40, 40, 110), 1.5, seed), CLASSES))
        inside += [one.low <= t <= one.high for one, t in zip(found, true, strict=True)]
    assert (inside / draws > 0.9).all(), inside / draws


def test_what_is_found_at_one_percent_of_false_alarms() -> None:
    random, inside = np.random.default_rng(0), 0
    true = float(stats.norm.sf(stats.norm.isf(0.01) - 2))
    for _ in range(300):
        found = curves.found_at(random.normal(size=400), random.normal(size=200) + 2, share=0.01)
        inside += found.low <= true <= found.high
    assert inside / 300 > 0.915
    few = curves.found_at(random.normal(size=200), random.normal(size=50) + 2, share=0.001)
    assert math.isnan(few.value)
    assert "too few reals to say, 200 of 3,000" in str(few)
    exact = curves.found_at(np.arange(300.0), np.array([296.0, 296.5, 299.5]), share=0.01)
    assert exact.value == pytest.approx(2 / 3)  # three of 300 reals may be above: 297, 298, 299


def test_average_precision_of_ten_videos_among_many_is_not_too_sure_of_itself() -> None:
    """It comes out too high for a few, and the interval lies so much lower."""
    random, inside = np.random.default_rng(0), 0
    rest, hits = _apart(random, 19_000, 1000)
    true = float(curves.average_precision(rest, hits))
    for _ in range(100):
        found = intervals.bootstrap(
            curves.average_precision, _apart(random, 190, 10), ("real", "generated")
        )
        inside += found.low <= true <= found.high
        assert found.low <= found.value <= found.high
    assert inside >= 91, inside


def _apart(random: np.random.Generator, rest: int, hits: int) -> list[Floats]:
    return [random.normal(size=rest), random.normal(size=hits) + 0.7]


def test_ties_are_taken_together() -> None:
    random = np.random.default_rng(3)
    scores, positive = random.integers(0, 5, 200).astype(float), random.uniform(size=200) < 0.4
    found = curves.average_precision(scores[~positive], scores[positive])
    assert float(found) == pytest.approx(average_precision_score(positive, scores))
    many = curves.average_precision(
        np.stack([scores[~positive]] * 3), np.stack([scores[positive]] * 3)
    )
    np.testing.assert_allclose(many, float(found))
    same = np.zeros(100), np.arange(100) < 50
    line = curves.roc(*same)
    assert np.trapezoid(line.y, line.x) == 0.5
    assert float(curves.equal_error_rate(np.zeros(50), np.zeros(50))) == pytest.approx(0.5)
    assert float(curves.equal_error_rate(np.arange(50.0), np.arange(50.0) + 100)) == 0


def test_no_interval_without_ten_videos_of_each_class() -> None:
    found = intervals.macro_auc_interval(*scored((9, 0, 50, 50), 1.0, 0), CLASSES)
    assert math.isnan(found.low)
    assert "0 of spatial, 9 of appearance; 10 videos of each class are needed" in str(found)
    three = intervals.macro_auc_interval(*scored((9, 50, 50), 1.0, 0), names((9, 50, 50)))
    assert not math.isnan(three.value)
    assert three.brackets == ""
    assert "n = 109; no interval: 9 of appearance" in str(three)
    assert intervals.f1(*scored((9, 50, 50), 1.0, 0), names((1, 1, 1))).why
    two = intervals.wilson(2, 2)
    assert two.low < 0.4
    assert two.high == 1
    assert "(n = 2)" in str(two)
    assert intervals.wilson(0, 0).why == "no videos"


def test_a_perfect_ranking_is_not_certain() -> None:
    scores, positive = np.arange(30.0), np.arange(30) >= 15
    found = intervals.auc(scores, positive)
    assert found.value == 1
    assert found.high == 1
    assert 0.7 < found.low < 0.95


def test_equal_heads_do_not_differ_and_better_ones_do() -> None:
    found = []
    for seed in range(150):
        labels = np.arange(80) % 4
        random = np.random.default_rng(seed)
        first, second = random.normal(size=(2, 80, 4)) + np.eye(4)[labels]
        right = (each.argmax(1) == labels for each in (first, second))
        found.append((tests.mcnemar(*right).p, tests.delong(first, second, labels, CLASSES).p))
    for p in np.array(found).T:
        assert 0.01 < (p < 0.05).mean() < 0.09
    better = first + np.eye(4)[labels]
    gain = tests.delong(first, better, labels, CLASSES)
    assert gain.p < 0.01
    assert gain.interval.low > 0
    assert "n = 80" in str(gain)
    hits = tests.mcnemar(first.argmax(1) == labels, better.argmax(1) == labels)
    assert hits.p < 0.01
    for same in (
        tests.delong(first, first, labels, CLASSES),
        tests.mcnemar(labels > 1, labels > 1),
    ):
        assert (same.interval.value, same.p) == (0, 1)
    assert tests.p_text(1e-9) == "p < 0.001"
    drawn = tests.drawn(share_right, first, better, labels, CLASSES)
    assert drawn.p == pytest.approx(2 / 1001)  # never 0: it was seen in none of 1,000 draws
    assert tests.permutation_p(0, 99) == 0.01


def test_differences_of_nearly_perfect_heads_lie_in_their_intervals() -> None:
    """By DeLong's variance alone, 75 of 100 held the truth: with no video out of place it is 0."""
    draws, inside = 100, 0
    labels = np.repeat([0, 1], 10)

    def pair(seed: int, labels: Labels) -> list[Floats]:
        random = np.random.default_rng(seed)
        shared = random.normal(size=len(labels))
        return [gap * labels + shared + 0.3 * random.normal(size=len(labels)) for gap in (2.5, 3)]

    many = np.repeat([0, 1], 100_000)
    first, second = (roc_auc_score(many, scores) for scores in pair(10_000, many))
    for seed in range(draws):
        one, other = pair(seed, labels)
        found = tests.delong_binary(one, other, labels == 1, ("real", "generated"))
        inside += found.interval.low <= second - first <= found.interval.high
        assert (found.p < 0.05) == (found.interval.low > 0 or found.interval.high < 0)
    assert inside >= 0.89 * draws
    other = labels + np.random.default_rng(0).uniform(0, 0.5, 20)
    perfect = labels + np.linspace(0, 0.5, 20), other
    unsure = tests.delong_binary(*perfect, labels == 1, ("real", "generated"))
    assert unsure.interval.low < -0.05
    assert unsure.interval.high > 0.05


def share_right(probabilities: Floats, labels: Labels) -> float:
    return float((probabilities.argmax(1) == labels).mean())


def test_mid_p_is_mcnemars() -> None:
    exact = float(stats.binomtest(3, 15).pvalue)
    assert tests.mid_p(3, 12) == pytest.approx(exact - float(stats.binom.pmf(3, 15, 0.5)))
    assert tests.mid_p(12, 3) == pytest.approx(tests.mid_p(3, 12))
    assert tests.mid_p(5, 5) == 1
    assert tests.mid_p(0, 0) == 1


def test_two_heads_judged_on_too_few_videos_have_no_test() -> None:
    probabilities, labels = scored((3, 20), 1.0, 0)
    found = tests.delong(probabilities, probabilities, labels, names((1, 1)))
    assert math.isnan(found.p)
    assert found.to_json()["p"] is None
    assert "no test: 3 of appearance" in str(found)
