"""Switches of the fusion head do what they are for, not only what their formula says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.parity.humansam_heads import as_written
from features_store.table import Table
from heads.errors import Diverged
from heads.head import make_head
from heads.measuring.metrics import averaged, measure
from heads.parts.fusion_net import initial, logits
from heads.parts.pooled import Standard
from heads.scoring.explain import shares
from heads.training.augment import kept_features
from heads.training.losses import table_weights
from heads.zoo.fusion import Fusion, FusionConfig
from tests.test_heads.tables import CLASSES, table
from tests.test_heads.test_golden import LAYOUT


def quick(**changes: object) -> FusionConfig:
    return FusionConfig(**{"epochs": 25, "lr": 3e-3, **changes})  # type: ignore[arg-type]


def fit(config: FusionConfig, train: Table, seed: int = 0) -> Fusion:
    """The last quarter of the videos decides."""
    head = Fusion(config, CLASSES)
    most = 3 * len(train) // 4
    head.fit(train.take(slice(0, most)), train.take(slice(most, None)), seed=seed)
    return head


def score(head: Fusion, test: Table) -> float:
    return measure(averaged(head.predict(test)), test.labels, CLASSES).auc


def test_rank_weighting_listens_to_the_videos_that_are_marked_important() -> None:
    """Videos with a low rank carry wrong labels; the weight log(e + 0) = 1 against 1.31 is mild,
    so ranks are spread further than the paper's to see it in few videos."""
    whole = table(240, seed=1, video_signal=1.2)
    random = np.random.default_rng(0)
    wrong = random.uniform(size=240) < 0.45
    labels = np.where(wrong, (whole.labels + 1) % 4, whole.labels).astype(np.int16)
    noisy = replace(whole, labels=labels, ranks=np.where(wrong, 0.0, 40.0))
    test = table(300, seed=2, video_signal=1.2)
    with_ranks = [score(fit(quick(), noisy, s), test) for s in range(3)]
    without = [score(fit(quick(rank_loss=False), noisy, s), test) for s in range(3)]
    assert np.mean(with_ranks) > np.mean(without) + 0.01


def test_rank_weights_weigh_classes_unless_they_are_told_not_to() -> None:
    """Reals have rank 1, as `label` gives it: the paper's weights make them count 12% more."""
    whole = table(200, seed=1)
    real = whole.labels == 3
    ranked = replace(whole, ranks=np.where(real, 1.0, np.random.default_rng(0).uniform(size=200)))
    plain, within = (
        table_weights(ranked, rank_loss=True, within_class=each).numpy() for each in (False, True)
    )
    assert plain[real].mean() / plain[~real].mean() > 1.08
    for label in range(4):
        own = whole.labels == label
        assert within[own].mean() == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(within[own] / plain[own], within[own][0] / plain[own][0])


def shifted(found: Table, by: float) -> Table:
    """A constant is added to cls and avg, as transformers' channels have one; in float32."""
    arrays = {key: array.astype(np.float32) for key, array in found.arrays.items()}
    for key in ("internvideo2/cls", "internvideo2/avg"):
        arrays[key] = arrays[key] + np.float32(by)
    return replace(found, arrays=arrays)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_constant_that_the_norm_removes_changes_nothing(dropout: float) -> None:
    config = quick(dropout=dropout, select="loss", epochs=12)
    test, outcomes = table(200, seed=3, video_signal=0.7), []
    for by in (0.0, 16.0):
        head = fit(config, shifted(table(160, seed=1, video_signal=0.7), by))
        assert head.model is not None
        true = shifted(test, by).arrays["internvideo2/cls"].reshape(-1, 24).var(0).mean()
        spread = head.model.tensors["down_norm.running_var"].mean()
        assert float(spread) == pytest.approx(float(true), rel=0.15)
        outcomes.append(averaged(head.predict(shifted(test, by))))
    assert np.abs(outcomes[0] - outcomes[1]).max() < 0.01


def test_explanations_do_not_depend_on_where_features_have_their_zero() -> None:
    test, found = table(40, seed=3), []
    for by in (0.0, 16.0):
        head = fit(quick(select="loss", epochs=12), shifted(table(160, seed=1), by))
        parts = shares(head, shifted(test, by))
        total = sum(np.broadcast_to(part, (40, 2, 4)) for part in parts.values())
        logits_ = np.log(head.predict(shifted(test, by)))
        np.testing.assert_allclose(total, logits_ - logits_.mean(-1, keepdims=True), atol=2e-3)
        assert all(np.abs(part.sum(-1)).max() < 1e-3 for part in parts.values())
        found.append(parts)
    for key, part in found[0].items():
        np.testing.assert_allclose(part, found[1][key], atol=0.03, err_msg=key)
    means = {key: float(np.abs(part.reshape(-1, 4).mean(0)).max()) for key, part in parts.items()}
    assert max(value for key, value in means.items() if key != "bias") < 0.5


def test_dropout_takes_its_share_and_the_same_on_every_run() -> None:
    keep = kept_features(
        torch.tensor([3, 4]), 10, (64, 500), torch.tensor([0.3, 0.0])[:, None, None]
    )
    assert float((keep[0] == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(keep[0].mean()) == pytest.approx(1, abs=0.02)
    assert bool((keep[1] == 1).all())
    alone = kept_features(torch.tensor(3), 12, (4, 500), 0.3)
    torch.testing.assert_close(alone, keep[0, 2:6])
    columns = (keep[0] == 0).float().mean(0)
    assert float(columns.max()) < 0.6
    assert keep.dtype == torch.float32


def test_neighbours_are_videos_however_many_views_they_have() -> None:
    def views(count: int, seed: int) -> Table:
        one, random = table(200, 1, seed=seed, video_signal=0.8), np.random.default_rng(seed)
        arrays = {
            key: np.repeat(a.astype(np.float32), count, 1)
            + 0.3 * random.normal(size=(200, count, *a.shape[2:])).astype(np.float32)
            for key, a in one.arrays.items()
        }
        return replace(one, arrays=arrays)

    test = table(400, 1, seed=9, video_signal=0.8)
    reached = []
    for count in (1, 8):
        found = []
        for seed in range(3):
            head = make_head("knn", {}, CLASSES)
            head.fit(views(count, seed), test)
            found.append(measure(averaged(head.predict(test)), test.labels, CLASSES).accuracy)
        reached.append(np.mean(found))
    assert reached[1] > reached[0] - 0.02


def test_a_penalty_weighs_the_same_for_any_number_of_views() -> None:
    one, test = table(80, 1, seed=1), table(50, 1, seed=2)
    many = replace(one, arrays={key: np.repeat(a, 6, 1) for key, a in one.arrays.items()})
    found = []
    for train in (one, many):
        head = make_head("linear", {"c": "0.01"}, CLASSES)
        head.fit(train, test)
        found.append(head.predict(test))
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_scaling_is_the_same_in_parts() -> None:
    x = torch.randn(700, 3, 5, generator=torch.Generator().manual_seed(0)) * 3 + 100
    x[..., 2] = 7
    found, flat = Standard.of(x), x.flatten(0, 1).double()
    torch.testing.assert_close(found.mean, flat.mean(0).float())
    scale = flat.std(0, correction=0).reciprocal().float()
    scale[2] = 0
    torch.testing.assert_close(found.scale, scale)


def test_the_papers_vector_leaves_the_class_token_out() -> None:
    head = fit(quick(vector="avg+attn"), table(120, seed=1, video_signal=3))
    assert "internvideo2/cls" not in head.keys
    assert head.model is not None
    assert head.model.layout.video == 24 + 16
    assert score(head, table(100, seed=2, video_signal=3)) > 0.75


def test_alpha_stays_between_0_and_1_unless_the_release_is_asked_for() -> None:
    assert quick().alpha_mode == "sigmoid"
    assert quick(official=True, repeat=2).alpha_mode == "free"
    assert quick(alpha="free").alpha_mode == "free"


def test_training_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen: list[int] = []
    head = Fusion(quick(epochs=1), CLASSES)

    def watch(epoch: int, value: float) -> bool:
        seen.append(torch.get_num_threads())
        return False

    head.fit(table(40), table(20), on_epoch=watch)
    assert (seen, torch.get_num_threads()) == ([1], 2)
    torch.set_num_threads(before)


def test_training_that_breaks_down_says_so() -> None:
    with pytest.raises(Diverged, match="Try a lower lr"):
        fit(quick(lr=1e30, down_norm="none", smoothing=0.0), table(80))


def test_smoothing_makes_less_confident() -> None:
    train, test = table(120, seed=1, video_signal=3), table(100, seed=2, video_signal=3)
    sharp, soft = (
        averaged(fit(quick(smoothing=s, select="loss"), train).predict(test)).max(1).mean()
        for s in (0.0, 0.3)
    )
    assert soft < sharp - 0.02


def test_where_depth_alone_carries_the_label_alpha_falls_and_depth_is_missed() -> None:
    train = table(1200, seed=1, video_signal=0.0, depth_signal=0.7)
    test = table(200, seed=2, video_signal=0.0, depth_signal=0.7)
    head = fit(quick(alpha="sigmoid", select="loss"), train)
    assert head.model is not None
    assert float(head.model.tensors["alpha"].detach().sigmoid()) < 0.5
    blind = fit(quick(depth=False), train)
    assert score(head, test) > 0.9
    assert score(blind, test) < 0.65
    fixed = fit(quick(alpha="fixed", alpha_start=0.3), train)
    assert fixed.model is not None
    assert float(fixed.model.tensors["alpha"].detach()) == np.float32(0.3)


def test_collapsed_and_uncollapsed_heads_agree() -> None:
    state = initial(LAYOUT, 4, torch.Generator().manual_seed(0))
    x = torch.randn(32, LAYOUT.columns, generator=torch.Generator().manual_seed(1))
    a, b = logits(state, x, LAYOUT), as_written(state, x, LAYOUT)
    assert float((a - b).abs().max() / b.abs().max()) < 1e-5


def test_mixup_dropout_and_every_norm_train() -> None:
    train, test = table(120, seed=1, video_signal=3), table(100, seed=2, video_signal=3)
    for config in (
        quick(mixup=0.4), quick(dropout=0.3),
        quick(down_norm="ln"), quick(down_norm="none"),
        quick(vector="attn"), quick(views="all"),
        quick(official=True, repeat=2), quick(patience=3),
    ):  # fmt: skip
        assert score(fit(config, train), test) > 0.75, config
