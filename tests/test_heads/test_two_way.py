"""An ablation's numbers are as unsure as other videos and other seeds would make them."""

import math
from functools import partial

import numpy as np
import pytest

from heads.judging import ablation, two_way
from heads.measuring.metrics import Floats, Labels
from tests.test_heads.tables import CLASSES

METRICS = ("accuracy", "auc", "f1")


def runs(
    seed: int, videos: int, seeds: int = 3, *, gain: float = 0.0
) -> tuple[list[Floats], Labels]:
    """Heads that see the same signal of each video, and each its own noise."""
    labels = np.arange(videos) % 4
    world = np.random.default_rng(seed)
    shared = world.normal(size=(videos, 4)) + (1.0 + gain) * np.eye(4)[labels]
    return [shared + 0.3 * world.normal(size=(videos, 4)) for _ in range(seeds)], labels


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_hold_the_number_that_many_videos_and_seeds_would_give(metric: str) -> None:
    value = partial(two_way.value_of, metric)
    many, labels = runs(10_000, 20_000, 4)
    true = float(np.mean([value(each, labels) for each in many]))
    inside = 0
    for seed in range(120):
        found = two_way.spread(metric, *runs(seed, 80), CLASSES)
        inside += found.low <= true <= found.high
    assert inside / 120 > 0.9


@pytest.mark.parametrize("metric", METRICS)
def test_heads_that_are_always_right_are_not_certain(metric: str) -> None:
    """100.0 ± 0.0 held the truth in a third of such ablations."""
    inside, apart = 0, 0
    value = partial(two_way.value_of, metric)
    many, labels = runs(10_000, 20_000, 4, gain=3.0)
    true = float(np.mean([value(each, labels) for each in many]))
    assert 0.97 < true < 1
    for seed in range(60):
        made, labels = runs(seed, 40, gain=3.0)
        found = two_way.spread(metric, made, labels, CLASSES)
        inside += found.low <= true <= found.high
        other = two_way.difference(metric, made, made[::-1], labels, CLASSES)
        apart += other.low <= 0 <= other.high
    assert min(inside, apart) >= 55
    perfect = [np.eye(4)[labels] + 0.0] * 3
    sure = two_way.spread(metric, perfect, labels, CLASSES)
    assert (sure.value, sure.high) == (1, 1)
    assert sure.low < 0.97
    same = two_way.difference(metric, perfect, perfect, labels, CLASSES)
    assert same.low < 0 < same.high
    assert same.p == 1


def pair(
    seed: int, videos: int, gain: float, seeds: int = 3
) -> tuple[list[Floats], list[Floats], Labels]:
    """Two heads that differ by noise of their own, one a little better."""
    labels = np.arange(videos) % 4
    world = np.random.default_rng(seed)
    shared, signal = world.normal(size=(videos, 4)), np.eye(4)[labels]

    def head(strength: float) -> list[Floats]:
        own = 0.6 * world.normal(size=(videos, 4))
        return [
            strength * signal + shared + own + 0.3 * world.normal(size=(videos, 4))
            for _ in range(seeds)
        ]

    return head(1.0), head(1.0 + gain), labels


def test_pure_noise_claims_nothing_in_95_of_100_ablations() -> None:
    """Seeds share the videos: a test over seeds alone finds 'gains' of either sign in most."""
    claimed, by_seeds_alone = 0, 0
    for seed in range(150):
        before, after, labels = pair(seed, 80, 0.0)
        found = two_way.difference("auc", after, before, labels, CLASSES)
        claimed += found.p < 0.05
        by_seeds_alone += abs(found.value) > 4.3 * math.sqrt(found.by_seeds)
    assert claimed <= 0.05 * 150 + 5
    assert by_seeds_alone > 30


def test_a_gain_is_found_with_the_videos_that_it_says_it_needs() -> None:
    gain = 0.25
    before, after, labels = pair(1, 20_000, gain)
    true = two_way.difference("auc", after, before, labels, CLASSES).value
    assert 0.03 < true < 0.07  # about five points
    needed = [
        two_way.difference("auc", *_swapped(pair(seed, 100, gain)), CLASSES).needed(true)
        for seed in range(10)
    ]
    found_needs = sorted(one for one in needed if one is not None)
    assert len(found_needs) == len(needed)
    seeds, videos = found_needs[len(needed) // 2]
    found = 0
    for seed in range(100):
        before, after, labels = pair(1000 + seed, videos, gain, seeds)
        found += two_way.difference("auc", after, before, labels, CLASSES).p < 0.05
    assert found >= 68  # 80 are promised; a share of 100 is uncertain by 8


def _swapped(
    made: tuple[list[Floats], list[Floats], Labels],
) -> tuple[list[Floats], list[Floats], Labels]:
    return made[1], made[0], made[2]


def test_without_a_class_there_is_no_auc_and_it_is_said() -> None:
    made, labels = runs(0, 60)
    labels = np.where(labels == 1, 0, labels)
    found = two_way.difference("auc", made, made[::-1], labels, CLASSES)
    assert (found.text(), found.why) == ("-", "not defined, no video is spatial")
    assert math.isnan(found.p)
    assert found.needed(0.05) is None
    said = ablation_of(made, made[::-1], labels).text()
    assert "no interval: not defined, no video is spatial" in said
    assert "nan" not in said
    one = np.r_[labels[labels != 3], 3]  # a single real video
    kept = np.r_[np.flatnonzero(labels != 3), np.flatnonzero(labels == 3)[:1]]
    alone = two_way.spread("accuracy", [run[kept] for run in made], one, CLASSES)
    assert "1 of real" in alone.why


def test_fewer_than_three_seeds_have_no_p() -> None:
    for seeds in (1, 2):
        before, after, labels = pair(0, 100, 1.0, seeds)
        found = two_way.difference("auc", after, before, labels, CLASSES)
        assert math.isnan(found.p)
        assert math.isnan(found.low)
        assert f"{seeds} seeds; 3 or more are needed" in found.why


def ablation_of(first: list[Floats], second: list[Floats], labels: Labels) -> ablation.Ablation:
    rows = {
        name: {
            m: ablation.Cell(
                values=tuple(two_way.value_of(m, run, labels) for run in each),
                spread=two_way.spread(m, each, labels, CLASSES),
            )
            for m in METRICS
        }
        for name, each in (("before", first), ("after", second))
    }
    gains = {"after": {m: two_way.difference(m, second, first, labels, CLASSES) for m in METRICS}}
    return ablation.Ablation(rows=rows, gains=gains, against={"before": None, "after": "before"})


def test_heads_without_randomness_are_said_to_be_so_and_still_unsure_of_videos() -> None:
    (before, *_), (after, *_), labels = pair(0, 100, 0.4)
    found = ablation_of([before] * 3, [after] * 3, labels)
    said = found.text()
    assert "no randomness, every seed gives the same: before, after" in said
    sure = found.rows["after"]["auc"].spread
    assert sure.high - sure.low > 0.02
    assert f"{100 * sure.value:.1f} [{100 * sure.low:.1f}, {100 * sure.high:.1f}]" in said
    assert "n = 100 videos x 3 seeds; 95% intervals and p are over both" in said
    assert "nan" not in said
    two = ablation_of([before] * 2, [after] * 2, labels)
    assert "no interval: 2 seeds; 3 or more are needed" in two.text()
    assert "(p" not in two.text()


def test_grid_rows_are_compared_with_the_row_that_differs_in_one_switch() -> None:
    rows = ablation.grid({"depth": ["true", "false"], "rank_loss": ["true", "false"]})
    plan = ablation.Plan(head="fusion", rows=rows, seeds=3, settings={})
    against = {name: plan.against(name) for name in rows}
    assert against == {
        "depth=true rank_loss=true": None,
        "depth=true rank_loss=false": "depth=true rank_loss=true",
        "depth=false rank_loss=true": "depth=true rank_loss=true",
        "depth=false rank_loss=false": "depth=false rank_loss=true",
    }
    steps = ablation.Plan(head="fusion", rows=ablation.TABLE_3, seeds=3, settings={})
    assert [steps.against(name) for name in ablation.TABLE_3] == [None, *list(ablation.TABLE_3)[:3]]
