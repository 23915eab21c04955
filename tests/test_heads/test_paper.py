"""The paper's tables as they stand beside ours."""

import numpy as np

from heads.judging import paper
from heads.judging.evaluation import ALL, AVERAGE, Predictions, evaluate
from heads.judging.tables import text_table

EIGHT = (
    "MinMax_human_dim", "gen3_human_dim", "Vchitect-2.0-2B+VEnhancer_human_dim",
    "Kling_human_dim", "CogVideoX-5B_human_dim", "Vchitect-2.0-2B_human_dim",
    "pika_1_human_dim", "gen_2_human_dim",
)  # fmt: skip
CLASSES = ("appearance", "spatial", "motion", "real")


def test_each_generator_has_its_own_column_and_the_mean_is_table_2s() -> None:
    found = paper.rows(4, EIGHT, AVERAGE)
    assert str(found[paper.OWN]["MinMax_human_dim"]) == "70.4 / 88.2"
    assert str(found[paper.OWN][AVERAGE]) == "69.8 / 87.9"
    assert str(found["Uni-FD"]["Kling_human_dim"]) == "47.6 / 74.7"
    assert str(paper.rows(2, EIGHT, AVERAGE)[paper.OWN]["gen_2_human_dim"]) == "99.4 / 100.0"
    assert paper.ablation_rows(EIGHT, AVERAGE)["+ depth"]["gen3_human_dim"].accuracy == 72.8


def test_a_mean_over_other_columns_is_not_put_beside_the_papers() -> None:
    for sources in (EIGHT[:7], (*EIGHT, "CogVideoX-2B_human_dim")):
        assert AVERAGE not in paper.rows(4, sources, AVERAGE)[paper.OWN]
    assert paper.rows(4, ["mine"], AVERAGE) == {}
    assert paper.rows(3, EIGHT, AVERAGE) == {}


def test_means_that_are_not_the_means_of_their_columns_are_named() -> None:
    assert paper.notes(4) == []
    dire, timesformer = paper.notes(2)
    assert dire == (
        "DIRE's mean accuracy is printed as 87.7; the mean of its printed columns is 87.4"
    )
    assert "TimeSformer's mean AUC is printed as 97.9" in timesformer
    lines = paper.ablation_lines(EIGHT, AVERAGE)
    assert lines[0].startswith("paper, Table 3, backbone: MinMax_human_dim 64.9 / 86.5, ")
    assert lines[0].endswith("average 63.3 / 87.4")
    assert any("mean of the printed columns 62.0 / 86.2" in line for line in lines)
    assert paper.ablation_lines(["mine"], AVERAGE) == []


def test_table_5_is_under_our_perturbations_names() -> None:
    assert paper.damage() == {
        "": 92.1, "blur3": 88.4, "jpeg50": 91.8, "resize0.7": 91.9, "mixed": 88.2
    }  # fmt: skip
    assert paper.DAMAGE_SOURCE in EIGHT


def test_a_table_of_hfv_has_the_papers_rows_below_ours() -> None:
    labels = np.arange(64) % 4
    sources = [EIGHT[place // 4 % 8] for place in range(64)]
    found = evaluate(
        Predictions(
            ids=[str(place) for place in range(64)], labels=labels, sources=sources,
            classes=CLASSES, means=np.eye(4, dtype=np.float32)[labels],
        )
    )  # fmt: skip
    lines = text_table(found, paper.rows(4, sources, AVERAGE)).splitlines()
    assert ALL in lines[0]
    assert lines[1].startswith("ours ")
    own = next(line for line in lines if line.startswith("paper: HumanSAM"))
    assert own.split()[-3:] == ["69.8", "/", "87.9"]
    assert sum(line.startswith("paper: ") for line in lines) == 7
