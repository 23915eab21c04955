"""DeepfakeBench's numbers, as released and as they ought to be."""

import json
import math
from pathlib import Path

import numpy as np

from benchmarks.parity.systems.audits import deepfakebench_rows
from heads.judging import deepfakebench

GOLDEN = Path(__file__).parent.parent / "golden" / "deepfakebench" / "metrics.json"
DESCRIBED = json.loads(GOLDEN.read_text())


def test_both_the_released_and_the_right_numbers_are_reproduced() -> None:
    rows = list(deepfakebench_rows(GOLDEN, DESCRIBED))
    assert [row.quantity for row in rows if not row.ok] == []
    assert len(rows) == 13 * 5 + 13 + 12


def test_four_manipulations_of_one_pair_are_four_videos() -> None:
    case = DESCRIBED["frame_to_video"]["ffpp_name_collision"]
    names = case["img_names"]
    ours = {deepfakebench.video_of(name) for name in names}
    released = {deepfakebench.video_of(name, released=True) for name in names}
    assert (len(ours), len(released)) == (50, 20)


def test_one_class_is_a_reason_and_no_exception() -> None:
    case = DESCRIBED["frame_to_video"]["one_class"]
    found = deepfakebench.frame_numbers(
        np.array(case["y_pred"]), np.array(case["y_true"]), case["img_names"], released=True
    )
    assert math.isnan(found.auc)
    assert found.undefined == "all frames are fake"
    assert 0 <= found.accuracy <= 1


def test_a_constant_score_errs_on_half_of_everything() -> None:
    truth = np.array([True, False, True, False])
    names = ["a/0.png", "b/0.png", "c/0.png", "d/0.png"]
    found = [
        deepfakebench.frame_numbers(np.full(4, 0.5), truth, names, released=released).eer
        for released in (False, True)
    ]
    assert found == [0.5, 0.0]
