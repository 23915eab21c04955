"""Planted defects: what is drawn changes where the box says, and nowhere else."""

import numpy as np
import pytest

from benchmarks import anatomy_tiny
from extract.synthesis.clip import Clip, ClipPlan
from extract.synthesis.data_set import GENERATORS
from extract.synthesis.defects import DEFECTS, DefectKind, planted


def clip(seed: int, shot: str = "close") -> Clip:
    made_by = GENERATORS[0]
    return Clip(
        ClipPlan(
            width=made_by.width, height=made_by.height, frames=8, fps=8, tint=made_by.tint,
            grain=0.0, label="real", severity=0.5, seed=seed, shot=shot,  # type: ignore[arg-type]
        )
    )  # fmt: skip


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_defect_is_seen_in_its_box_alone(kind: DefectKind) -> None:
    seen = 0
    for seed in range(6):
        made = clip(seed)
        drawing = made.drawing(3)
        found = planted(drawing, kind, np.random.default_rng(seed))
        if found is None:
            continue
        wrong, defect = found
        assert defect.kind == kind
        rows, columns = np.nonzero((made.paint(wrong) != made.paint(drawing)).any(-1))
        if not len(rows):
            continue  # out of the picture, or behind an object
        left, top, right, bottom = defect.box
        before = 20 if kind == "face" else 2  # where the eye was changes too
        assert columns.min() >= left - 2
        assert columns.max() <= right + 2
        assert rows.min() >= top - before
        assert rows.max() <= bottom + 2
        seen += 1
    assert seen >= 2


def test_hands_without_fingers_have_none_too_many() -> None:
    small = clip(0, "full").drawing(0)
    assert planted(small, "hand", np.random.default_rng(0)) is None


def test_a_frame_of_the_benchmark_has_its_defect_in_a_crop_of_that_part() -> None:
    found = anatomy_tiny.frames(8, 50, GENERATORS[:2], one=True)
    assert {len(frame.defects) for frame in found} == {0, 1}
    for frame in found:
        wrong = [crop.kind for crop in frame.crops if crop.wrong]
        parts = ["person" if one.kind == "body" else one.kind for one in frame.defects]
        assert sorted(set(wrong)) == sorted(parts)
        assert all(crop.pixels.shape == (64, 64, 3) for crop in frame.crops)
