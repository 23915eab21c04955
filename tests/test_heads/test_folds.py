"""Parts of the videos that judge in turn."""

from dataclasses import replace

import numpy as np
import pytest

from heads.data.folds import k_folds, leave_one_out
from heads.data.sides import Data
from heads.errors import BadTable
from tests.test_heads.tables import table


def test_folds_judge_every_video_once_and_by_its_own_views() -> None:
    learnt, judged = table(120, seed=1), table(120, seed=1, views=3)
    whole = Data(train=learnt, validation=judged)
    for folds in (k_folds(whole, 3), leave_one_out(whole)):
        seen = np.concatenate([fold.validation.ids for fold in folds])
        assert sorted(map(str, seen)) == sorted(map(str, judged.ids))
        for fold in folds:
            assert not set(fold.train.ids) & set(fold.validation.ids)
            assert fold.validation.arrays["depthpro/depth"].shape[1] == 3
            assert fold.train.arrays["depthpro/depth"].shape[1] != 3
    generators = [set(map(str, fold.validation.sources)) for fold in leave_one_out(whole)]
    assert generators == [{"kappa"}, {"lambda"}]


def test_folds_hold_every_class_however_rare() -> None:
    whole = table(60, seed=1)
    labels = np.concatenate([np.full(6, 3), np.arange(54) % 3]).astype(np.int16)
    rare = replace(whole, labels=labels)
    for fold in k_folds(Data(train=rare, validation=rare), 5):
        assert len(np.unique(fold.validation.labels)) == 4
        assert len(np.unique(fold.train.labels)) == 4
    with pytest.raises(BadTable, match="7 folds need 7 videos of each class; the rarest has 6"):
        k_folds(Data(train=rare, validation=rare), 7)


def test_folds_keep_groups_together() -> None:
    whole = table(120, seed=1)
    groups = np.array([f"person {i // 8}" for i in range(120)], dtype=object)
    for fold in k_folds(Data(train=whole, validation=whole), 4, groups):
        assert not set(groups[fold.train.rows]) & set(groups[fold.validation.rows])
        assert len(np.unique(fold.validation.labels)) == 4
