"""Switches of the fusion head do what they are for, not only what their formula says."""

from dataclasses import replace

import numpy as np
import torch

from features_store.table import Table
from heads.judging.metrics import averaged, measure
from heads.parts.fusion_net import initial, logits, logits_uncollapsed
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
    a, b = logits(state, x, LAYOUT), logits_uncollapsed(state, x, LAYOUT)
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
