"""Strategies of training: the released codes' numbers, and what each of them promises."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.parity.checking import check
from features_store.table import Table
from heads.commands.main import main
from heads.data.splits import Choice
from heads.errors import BadSetting, BadTable, WrongFeatures
from heads.head import make_head
from heads.judging.several_sets import VideoSet, mean_over
from heads.judging.two_way import spread
from heads.training.config import epoch_order
from heads.training.loop import parameters_to_train
from heads.training.model import Batch
from heads.training.strategies import anomalies, awp, lsda, qad, worst
from heads.training.strategy import Lesson, Step, Strategy, activations, begun
from heads.zoo.fusion import Fusion
from heads.zoo.mlp import Mlp, MlpModel, initial
from tests.test_features_store.test_cli import here
from tests.test_heads.frame_tables import frame_table
from tests.test_heads.stores import write_features, write_store
from tests.test_heads.tables import CLASSES, table

GOLDEN = Path(__file__).parents[1] / "golden"
QUANTITIES = {"lsda": 11, "ucf": 5, "qad": 50}
"""How many each golden file has."""


@pytest.mark.parametrize("system", QUANTITIES)
def test_golden(system: str, tmp_path: Path) -> None:
    (tmp_path / system).symlink_to(GOLDEN / system)
    rows, unknown = check(tmp_path)
    assert not unknown
    assert len(rows) == QUANTITIES[system]
    assert not [row for row in rows if not row.ok]


def test_an_example_farthest_from_its_generators_mean_is_found_in_each_cell() -> None:
    z_nd = torch.tensor([[0.0], [1.0], [5.0], [10.0], [10.0]])
    mean_nd, hard = lsda.centres(z_nd, torch.tensor([7, 7, 7, 2, 2]))
    assert mean_nd[:, 0].tolist() == [2, 2, 2, 10, 10]
    assert hard.tolist() == [2, 2, 2, 3, 3]


def test_lsda_needs_generators_and_reals() -> None:
    settings = {"strategy": "lsda", "epochs": "1"}
    found, validation = table(), table(40, seed=2)
    one = replace(found, sources=np.where(found.sources != "", "kappa", ""))
    with pytest.raises(BadSetting, match=r"needs generated videos of 2 sources, and 1 is learnt"):
        make_head("fusion", settings, CLASSES).fit(one, validation)
    without = found.take(found.labels != CLASSES.index("real"))
    with pytest.raises(BadSetting, match="needs real videos"):
        make_head("fusion", settings, CLASSES).fit(without, validation)
    with pytest.raises(BadSetting, match="leave out mixup"):
        make_head("fusion", {**settings, "mixup": "0.2"}, CLASSES).fit(found, validation)


def test_what_reads_tokens_refuses_changed_vectors() -> None:
    made = make_head("attnpool", {"strategy": "lsda", "epochs": "1", "out": "16"}, CLASSES)
    with pytest.raises(BadSetting, match=r"reads its tokens from.*fusion, mlp"):
        made.fit(frame_table(), frame_table(40, seed=2))


def test_the_released_head_has_no_strategy() -> None:
    with pytest.raises(BadSetting, match="no strategy"):
        make_head("fusion", {"official": "true", "repeat": "2", "strategy": "lsda"}, CLASSES)


def test_fusion_learns_with_lsda() -> None:
    settings = {"strategy": "lsda:mix=0.3", "epochs": "8", "lr": "3e-3"}
    made = make_head("fusion", settings, CLASSES)
    report = made.fit(table(seed=1), table(40, seed=2), seed=3)
    assert report.best > 0.8
    plain = make_head("fusion", {**settings, "strategy": "plain"}, CLASSES)
    plain.fit(table(seed=1), table(40, seed=2), seed=3)
    assert np.abs(plain.predict(table(seed=4)) - made.predict(table(seed=4))).max() > 1e-3


def test_strategies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["heads", "--strategies"]) == 0
    said = capsys.readouterr().out
    assert "lsda: LSDA (CVPR 2024)" in said
    assert "    share=1.0  (a number)  Copies for each generated sample" in said


def test_weights_are_where_the_loss_is_worse_and_come_back() -> None:
    weights = [torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0]])]
    moves = awp.worse(weights, [torch.tensor([[0.0, 0.1]]), torch.tensor([[-9.0]])])
    assert [move.tolist() for move in moves] == [[[0.0, 5.0]], [[-2.0]]]
    found, validation = table(seed=1), table(40, seed=2)
    settings = {"epochs": "2", "hidden": "8", "lr": "0", "weight_decay": "0"}
    still = [
        make_head("mlp", {**settings, "strategy": strategy}, CLASSES)
        for strategy in ("plain", "awp:awp=0.1:awp_after=0")
    ]
    for made in still:
        made.fit(found, validation)
    first, second = (made.predict(validation) for made in still)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_awp_sees_batch_statistics_once() -> None:
    """What is learnt of the batches' mean and variance is what plain training learns of them."""
    found, validation = table(seed=1), table(40, seed=2)
    means = []
    for strategy in ("plain", "awp:awp=0.1:awp_after=0"):
        settings = {"epochs": "1", "batch": "80", "strategy": strategy}
        made = make_head("fusion", settings, CLASSES)
        made.fit(found, validation)
        assert isinstance(made, Fusion)
        assert made.model is not None
        means.append(made.model.tensors["down_norm.running_mean"])
    torch.testing.assert_close(means[0], means[1], atol=0, rtol=0)


def test_qad_looks_twice_at_one_view_in_two_qualities() -> None:
    settings = {"strategy": "qad", "epochs": "1", "hidden": "8", "repeat": "2"}
    made = make_head("mlp", settings, CLASSES)
    with pytest.raises(BadSetting, match="--also train-8"):
        made.fit(table(seed=1), table(40, seed=2))
    once = make_head("mlp", {**settings, "repeat": "1"}, CLASSES)
    with pytest.raises(BadSetting, match="--set repeat=2"):
        once.fit(replace(table(views=6), also=("val+blur3", "val+blur9")), table(40, seed=2))
    assert isinstance(made, Mlp)
    found = replace(table(views=6), also=("val+blur3", "val+blur9"))
    made.fit(found, table(40, seed=2))
    assert made.model is not None
    samples = made._samples(found, "cpu", "training")
    lesson = Lesson(model=made.model, config=made.config, samples=samples, seed=4)
    strategy = begun(lesson)
    strategy.begin_epoch(0)
    views = strategy.order(epoch_order(made.config, 4, 0, 80, 6)).views
    assert (views[::2] % 2 == views[1::2] % 2).all()
    assert (views[::2] // 2 != views[1::2] // 2).all()
    assert set(views.tolist()) == set(range(6))


def test_what_agrees_in_geometry_has_the_largest_hsic() -> None:
    random = torch.Generator().manual_seed(0)
    z_md, other_md = (torch.randn(64, 5, generator=random) for _ in range(2))
    turned = z_md @ torch.linalg.qr(torch.randn(5, 5, generator=random)).Q
    same, apart = (
        float(qad.normalised_hsic(qad.kernel(z_md, 1.0), qad.kernel(each, 1.0)))
        for each in (turned, other_md)
    )
    assert same == pytest.approx(1, abs=1e-4)
    assert apart < 0.3


def test_views_of_two_qualities_are_learnt_from_side_by_side(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s")
    found = table(120, seed=5)
    write_features(store, found, "val+blur3")
    head = make_head("mlp", {}, CLASSES)
    data = Choice(protocol="val", also=("val+blur3",)).load(store, head)
    plain = Choice(protocol="val").load(store, head)
    assert data.train.qualities == 2
    assert data.train.ids.tolist() == plain.train.ids.tolist()
    for key in head.keys:
        sides = np.split(data.train.arrays[key], 2, axis=1)
        np.testing.assert_array_equal(sides[0], plain.train.arrays[key])
        np.testing.assert_array_equal(sides[1], sides[0])
    assert data.validation.qualities == 1
    write_features(store, found, "val+blur9", fingerprint="b" * 64)
    with pytest.raises(WrongFeatures, match="different networks"):
        Choice(protocol="val", also=("val+blur9",)).load(store, head)
    write_features(store, table(120, 3, seed=5), "val+jpeg50")
    with pytest.raises(BadTable, match="3 views and val 2"):
        Choice(protocol="val", also=("val+jpeg50",)).load(store, head)
    with pytest.raises(BadTable, match="attnpool reads tokens"):
        Choice(protocol="val", also=("val+blur3",)).load(store, make_head("attnpool", {}, CLASSES))


def begun_with(strategy: str, found: Table | None = None, **more: str) -> Strategy:
    """On an untrained head's model."""
    found = table() if found is None else found
    made = make_head("mlp", {"epochs": "4", "hidden": "8", "strategy": strategy, **more}, CLASSES)
    assert isinstance(made, Mlp)
    samples = made._samples(found, "cpu", "training")
    tensors = initial(made._sizes(samples.x.shape[-1]), torch.Generator().manual_seed(0))
    parameters_to_train(tensors, ("mean", "scale"))
    lesson = Lesson(model=MlpModel(tensors), config=made.config, samples=samples, seed=0)
    return begun(lesson)


def losses_of(strategy: Strategy, logits: torch.Tensor) -> torch.Tensor:
    rows = torch.arange(len(logits))
    return strategy.losses(logits, strategy.samples.told.take(rows))


def logits_of(count: int) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(1))


def test_the_generator_told_worst_weighs_more_and_real_videos_what_they_weighed() -> None:
    strategy = begun_with("worst:rate=0.5")
    assert isinstance(strategy, worst.Worst)
    wrong = torch.zeros(80, 4)
    told = strategy.samples.told
    wrong[torch.arange(80), told.targets] = torch.where(told.domains == 2, -3.0, 3.0)
    real = losses_of(begun_with("plain"), wrong)[told.domains == 0]
    for _ in range(5):
        losses = losses_of(strategy, wrong)
        torch.testing.assert_close(losses[told.domains == 0], real)
    assert strategy.shares[2] > 0.9
    assert float(strategy.shares[1:].sum()) == pytest.approx(1)


def test_rare_groups_weigh_more_and_all_together_what_they_weighed() -> None:
    found = table(120).take(np.flatnonzero((np.arange(120) % 4 != 0) | (np.arange(120) < 20)))
    strategy = begun_with("balanced:beta=0.9999", found)
    logits = torch.zeros(len(found), 4)
    losses = losses_of(strategy, logits)
    sums = [float(losses[torch.from_numpy(found.labels == c)].sum()) for c in range(4)]
    assert max(sums) - min(sums) < 0.01 * max(sums)
    assert float(losses.sum()) == pytest.approx(
        float(losses_of(begun_with("plain"), logits[:80])[0]) * 95
    )


def test_what_is_told_surely_counts_less() -> None:
    logits = logits_of(20)
    plain, found = (losses_of(begun_with(name), logits) for name in ("plain", "focal:gamma=3"))
    right = logits.softmax(1)[torch.arange(20), table().labels[:20].astype(int)]
    torch.testing.assert_close(found, plain * (1 - right) ** 3)


def test_the_least_obvious_anomaly_has_the_softest_label() -> None:
    logits, found = logits_of(20), table()
    strategy = begun_with("ranks:strength=0.4", found, smoothing="0.1")
    losses = losses_of(strategy, logits)
    rank = float(found.ranks[5])  # generated; the fourth is real
    target = torch.full((4,), 0.0)
    target[int(found.labels[5])] = 0.9 * (1 - 0.4 * rank)
    target += (1 - target.sum()) / 4
    expected = -(target * logits[5].log_softmax(0)).sum()
    torch.testing.assert_close(losses[5], expected)
    torch.testing.assert_close(losses[3], losses_of(begun_with("plain"), logits)[3])
    with pytest.raises(BadSetting, match=r"60 have none.*manifest rank"):
        begun_with("ranks", replace(found, ranks=found.ranks * np.nan), rank_loss="false")


def test_other_anomalies_of_the_ledger_are_there_too(tmp_path: Path) -> None:
    ledger = tmp_path / "labels.csv"
    ledger.write_text("id,also\n0/0.mp4,motion+spatial\n0/1.mp4,\nelsewhere.mp4,motion\n")
    strategy = begun_with(f"anomalies:ledger={ledger}:share=1")
    assert isinstance(strategy, anomalies.Anomalies)
    assert strategy.there[:4].tolist() == [[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    told = strategy.samples.told.take(torch.arange(4))
    batch = Batch(x=torch.zeros(4, 1), rows=np.arange(4), views=np.zeros(4, np.int64))
    right = torch.tensor([[20.0, 20, 20, 0], [-20, 20, -20, 0], [-20, -20, 20, 0], [-9, -9, -9, 9]])
    assert float(strategy.combined(right, Step(batch=batch, told=told))) < 1e-6
    ledger.write_text("id,also\n0/0.mp4,glow\n")
    with pytest.raises(BadSetting, match=r"'glow' of 0/0\.mp4, which is no class"):
        begun_with(f"anomalies:ledger={ledger}")
    with pytest.raises(BadSetting, match="no ledger"):
        begun_with(f"anomalies:ledger={tmp_path / 'none.csv'}")


def test_the_mean_of_the_weights_is_judged_and_the_weights_go_on() -> None:
    for options, epochs in (
        ("average:decay=0.9", (1, 1, 1)),
        ("average:kind=swa:begin=0.5", (2, 3)),
    ):
        strategy, seen = begun_with(options), list[float]()
        weight = strategy.model.parameters()[0][0]
        for step, epoch in enumerate(epochs):
            strategy.begin_epoch(epoch)
            with torch.no_grad():
                weight.fill_(float(step + 1))
            strategy.after()
            with strategy.judged():
                seen.append(float(weight.detach()[0, 0]))
            assert float(weight.detach()[0, 0]) == step + 1
        assert seen == sorted(seen)
        assert seen[-1] < len(epochs)
        if "swa" in options:
            assert seen == [1, 1.5]


def test_manifold_mixup_needs_hidden_layers() -> None:
    with pytest.raises(BadSetting, match=r"needs 1 hidden layers.*this head has 0"):
        begun_with("manifold", layers="0")
    made = make_head("fusion", {"strategy": "ucf", "epochs": "1"}, CLASSES)
    with pytest.raises(BadSetting, match="--head mlp"):
        made.fit(table(), table(40, seed=2))


def test_what_is_judged_has_the_mean_generators_scale_and_shift() -> None:
    strategy = begun_with("gmdf")
    samples, model = strategy.samples, strategy.model
    before = model.view_probabilities(samples)
    vectors, turn = strategy.parameters()
    with torch.no_grad():
        turn.normal_(generator=torch.Generator().manual_seed(3))
    batch = Batch(x=samples.x[:, 0], rows=np.arange(80), views=np.zeros(80, np.int64))
    *_, hidden, _ = activations(model, batch)
    scale, shift = (vectors.mean(0) @ turn).chunk(2)
    expected = model.stages(batch)[-1](hidden * (1 + scale) + shift).softmax(-1)
    with strategy.judged():
        found = torch.from_numpy(model.view_probabilities(samples)[:, 0])
    torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=0)
    np.testing.assert_array_equal(model.view_probabilities(samples), before)


def test_strategies_are_judged_on_generators_left_out(tmp_path: Path) -> None:
    write_store(tmp_path / "s", 240)
    begin: list[str | Path] = ["ablate", "--store", tmp_path / "s", "--head", "mlp"]
    begin += ["--set", "hidden=8", "--set"]
    given = [*begin, "epochs=3", "--seeds", "3", "--out", tmp_path / "o"]
    said = here(*given, "--strategies", "average,ranks")
    assert "generator left out; plain" in said
    assert " kappa: " in said
    assert said.count("(n = 120 x 3 seeds)") == 2
    assert "mean: " in said
    assert "(n = 240 x 3 seeds)" in said
    table_lines = (tmp_path / "o" / "strategies.csv").read_text().splitlines()
    assert len(table_lines) == 1 + 3 * 3
    runs = (tmp_path / "o" / "runs.jsonl").read_text()
    assert runs.count('"strategy": "plain"') == 2 * 3
    assert here(*given, "--strategies", "average,ranks") == said
    assert (tmp_path / "o" / "runs.jsonl").read_text() == runs
    said = here(*given[:-1], tmp_path / "all", "--strategies", "qad", expect=1)
    assert "--also train-8" in said
    said = here(*begin, "epochs=1", "--seeds", "1", "--strategies", "--out", tmp_path / "every")
    assert "not tried: Strategy lsda needs generated videos of 2 sources, and 1 is" in said
    assert "no interval: 1 seeds; 3 or more are needed" in said


def test_a_mean_over_generators_counts_shared_reals_once() -> None:
    """Two copies of one set say no more than it does by itself; two sets of other videos do."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    score = labels + random.normal(size=(3, 80))
    runs = [np.stack([1 - each, each], 1) for each in score]
    one = VideoSet(runs=runs, others=None, labels=labels, rows=np.arange(80))
    other = replace(one, rows=np.arange(80) + 80 * (labels == 0))
    apart = replace(one, rows=np.arange(80) + 80)
    single = spread("auc", runs, labels, ("generated", "real"))
    alone = mean_over([one], ["a"], shared=1)
    assert alone.value == pytest.approx(single.value)
    assert alone.by_videos == pytest.approx(single.by_videos)
    twice, halves = (mean_over([one, each], ["a", "b"], shared=1) for each in (other, apart))
    assert twice.value == pytest.approx(single.value)
    assert halves.by_videos == pytest.approx(single.by_videos / 2, rel=0.02)
    assert halves.by_videos < twice.by_videos < single.by_videos
    assert mean_over([replace(one, others=runs)], ["a"], shared=1).value == 0
