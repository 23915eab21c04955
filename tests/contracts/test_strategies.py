"""What every strategy must do, whatever is in it: one file, one run of this suite."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features_store.table import Table
from heads.errors import BadSetting
from heads.head import Head, make_head
from heads.measuring.metrics import averaged, measure
from heads.training.config import epoch_order
from heads.training.model import Batch, Samples
from heads.training.strategy import Lesson, Step, Strategy, begun, parse, strategy_names
from heads.zoo.mlp import Mlp
from tests.test_heads.tables import CLASSES, table

QUICK = {"epochs": "6", "lr": "3e-3", "hidden": "12", "batch": "32"}
NOTHING: dict[str, str] = {
    "lsda": "lsda:share=0",
    "ucf": "ucf:specific=0:contrast=0:rebuild=0",
    "awp": "awp:awp=0",
    "qad": "qad:alpha=0:awp=0",
    "balanced": "balanced:beta=0",
    "worst": "worst:rate=0",
    "focal": "focal:gamma=0",
    "average": "average:decay=0",
    "noise": "noise:strength=0",
    "manifold": "manifold:alpha=0",
    "gmdf": "gmdf:experts=false:inner=0:align=0",
    "ranks": "ranks:strength=0",
    "anomalies": "anomalies:share=0",
}
"""Strategy → the same with nothing in it, where that can be set: plain training."""
SOMETHING = {"balanced": "balanced:by=generator", "worst": "worst:rate=2"}
"""What changes something here: each class has as many videos, and generators are alike."""
SETTINGS: dict[str, dict[str, str]] = {"qad": {"repeat": "2"}}
"""What a strategy needs beside its name."""

pytestmark = pytest.mark.parametrize("name", strategy_names())


def learning(seed: int = 1, videos: int = 80) -> Table:
    """The two views of each video pass for one view of two qualities."""
    return replace(table(videos, seed=seed), also=("val+blur3",))


def fitted(strategy: str, seed: int = 3, **more: str) -> Head:
    name = parse(strategy)[0].name
    chosen = {**QUICK, **SETTINGS.get(name, {}), **more, "strategy": strategy}
    made = make_head("mlp", chosen, CLASSES)
    made.fit(learning(), table(40, seed=2), seed=seed)
    return made


def begin(strategy: str, seed: int) -> Strategy:
    """As a training begins it, on a trained head's model."""
    name = parse(strategy)[0].name
    made = fitted(strategy, epochs="1")
    assert isinstance(made, Mlp)
    assert made.model is not None
    samples = made._samples(learning(seed), "cpu", "training")
    lesson = Lesson(model=made.model, config=made.config, samples=samples, seed=seed)
    assert name == made.config.strategy.partition(":")[0]
    return begun(lesson)


def step_of(samples: Samples, rows: np.ndarray, views: np.ndarray) -> Step:
    batch = Batch(x=samples.x[rows, views], rows=rows, views=views)
    return Step(batch=batch, told=samples.told.take(torch.from_numpy(rows)))


def test_it_learns(name: str) -> None:
    judged = table(60, seed=4)
    found = measure(averaged(fitted(name).predict(judged)), judged.labels, CLASSES)
    assert found.auc > 0.75, found


def test_the_same_seed_gives_the_same_head(name: str) -> None:
    judged = table(20, seed=4)
    first, second = (fitted(name).predict(judged) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_with_nothing_in_it_it_is_plain_training_to_the_bit(name: str) -> None:
    judged = table(20, seed=4)

    @given(seed=st.integers(0, 99), dropout=st.sampled_from(("0", "0.2")))
    @settings(max_examples=2)
    def holds(seed: int, dropout: str) -> None:
        strategy = NOTHING.get(name, "plain")
        more = {**SETTINGS.get(name, {}), "dropout": dropout, "epochs": "2"}
        plain = fitted("plain", seed, **more).predict(judged)
        np.testing.assert_array_equal(fitted(strategy, seed, **more).predict(judged), plain)

    if name in NOTHING or name == "plain":
        holds()


def test_it_is_not_plain_training(name: str) -> None:
    judged, more = table(20, seed=4), SETTINGS.get(name, {})
    plain = fitted("plain", 3, **more).predict(judged)
    changed = np.abs(fitted(SOMETHING.get(name, name), 3, **more).predict(judged) - plain).max()
    assert changed == 0 if name == "plain" else changed > 1e-4


def test_real_videos_are_seen_as_they_are_and_weigh_what_they_weighed(name: str) -> None:
    strategy = begin(name, 5)
    samples = strategy.samples
    real = CLASSES.index("real")

    @given(seed=st.integers(0, 999), count=st.integers(8, 40))
    @settings(max_examples=10)
    def holds(seed: int, count: int) -> None:
        random = np.random.default_rng(seed)
        rows = random.permutation(samples.videos)[:count]
        views = random.integers(0, samples.views, count)
        step = step_of(samples, rows, views)
        before = step.told.targets == real
        changed = strategy.batch(step)
        after = changed.told.targets == real
        assert torch.equal(changed.batch.x[after], step.batch.x[before])
        assert len(changed.batch.rows) == len(changed.batch.x) == len(changed.told.weights)
        share = [
            float(told.weights[mask].sum()) / len(told.weights)
            for told, mask in ((step.told, before), (changed.told, after))
        ]
        assert math.isclose(share[0], share[1], rel_tol=1e-5)

    holds()


def test_an_epoch_looks_at_as_many_samples(name: str) -> None:
    strategy = begin(name, 5)
    strategy.begin_epoch(0)
    samples = strategy.samples
    plain = epoch_order(strategy.config, 5, 0, samples.videos, samples.views)
    order = strategy.order(plain)
    assert len(order.rows) == len(plain.rows)
    assert set(order.rows.tolist()) == set(plain.rows.tolist())
    assert order.views.max() < samples.views


def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(BadSetting, match=f"Strategy {name} has no setting 'wrong'"):
        parse(f"{name}:wrong=1")
    with pytest.raises(BadSetting, match=r"Strategy 'nothing' unknown; have: .*plain"):
        parse("nothing")
    with pytest.raises(BadSetting, match="unknown"):
        make_head("mlp", {"strategy": f"{name}x"}, CLASSES)
