"""Strategies of training: the released codes' numbers, and what each of them promises."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.parity.checking import check
from heads.commands.main import main
from heads.errors import BadSetting
from heads.head import make_head
from heads.training.strategies import lsda
from tests.test_heads.frame_tables import frame_table
from tests.test_heads.tables import CLASSES, table

GOLDEN = Path(__file__).parents[1] / "golden"
QUANTITIES = {"lsda": 11, "ucf": 5}
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
