"""Planted defects: what is drawn changes where the box says, and nowhere else."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import anatomy_tiny
from benchmarks.anatomy_frames import PART_OF, Drawn, Frame, frames
from extract.branch import BranchRequest, load_branch
from extract.synthesis.clip import Clip, ClipPlan
from extract.synthesis.data_set import GENERATORS
from extract.synthesis.defects import DEFECTS, DefectKind, planted, share_seen
from extract.synthesis.shapes import Shape


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


def test_what_lies_before_a_defect_or_outside_the_window_is_not_seen() -> None:
    made = clip(3)
    found = planted(made.drawing(3), "face", np.random.default_rng(0))
    assert found is not None
    drawing, defect = found
    size, everything = (made.plan.height, made.plan.width), (0.0, 0.0, 1e4, 1e4)
    assert share_seen(drawing, defect.wrong, size, everything) == 1
    assert share_seen(drawing, defect.wrong, size, (0.0, 0.0, 1.0, 1.0)) == 0
    left, top, right, bottom = defect.box
    half = (left, top, (left + right) / 2, bottom)
    assert 0.3 < share_seen(drawing, defect.wrong, size, half) < 0.7
    wall = Shape(kind="box", name="wall", part="object", depth=1.0, colour=(0, 0, 0),
                 points=((left - 1, top - 1), (right + 1, bottom + 1)))  # fmt: skip
    hidden = replace(drawing, shapes=(*drawing.shapes, wall))
    assert share_seen(hidden, defect.wrong, size, everything) == 0


@pytest.fixture(scope="module")
def twins() -> list[Frame]:
    return frames(Drawn(generators=GENERATORS[:2], image=64, twins=True), 16, 50)


def test_two_frames_to_learn_from_differ_in_a_defect_that_one_crop_shows(
    twins: list[Frame],
) -> None:
    kinds = set()
    for wrong, fine in zip(twins[::2], twins[1::2], strict=True):
        (more,) = {one.kind for one in wrong.defects} - {one.kind for one in fine.defects}
        kinds.add(more)
        assert {crop.kind for crop in fine.crops} <= {PART_OF[more]}
        assert not any(crop.wrong for crop in fine.crops)
        shown = [crop.kind for crop in wrong.crops if crop.wrong]
        assert sorted(shown) == sorted(PART_OF[one.kind] for one in wrong.defects)
        assert all(crop.where.any() == crop.wrong for crop in wrong.crops)
    assert kinds == set(DEFECTS)


def test_frames_to_judge_have_one_defect_or_none_and_follow_from_their_seeds() -> None:
    how = Drawn(generators=GENERATORS[2:], image=64, twins=False)
    found = frames(how, 8, 0)
    assert {len(frame.defects) for frame in found} == {0, 1}
    with ThreadPoolExecutor(2) as pool:
        again = frames(how, 8, 0, pool)
    for one, other in zip(found, again, strict=True):
        assert one.defects == other.defects
        for mine, its in zip(one.crops, other.crops, strict=True):
            np.testing.assert_array_equal(mine.pixels, its.pixels)
            assert mine.pixels.shape == (64, 64, 3)


def test_the_patches_that_show_a_defect_are_those_that_change(twins: list[Frame]) -> None:
    """A twin's crop differs where the other's defect is, where both have the same box."""
    looked = 0
    for wrong, fine in zip(twins[::2], twins[1::2], strict=True):
        others = {crop.box: crop for crop in fine.crops}
        for crop in wrong.crops:
            twin = others.get(crop.box)
            if twin is None or not crop.wrong or crop.kind != "face":
                continue
            changed = (crop.pixels != twin.pixels).any(-1)
            patches = changed.reshape(4, 16, 4, 16).any((1, 3))
            assert patches[crop.where].all()
            assert not patches.all()
            looked += 1
    assert looked >= 2


def test_the_three_networks_are_written_as_the_branch_reads_them(tmp_path: Path) -> None:
    """The whole script, too small to learn anything: its files can be read as a branch."""
    arguments = (
        "--frames 20 --judged 12 --steps 3 --batch 8 --image 64 --width 24 --depth 1 "
        f"--device cpu --out {tmp_path}"
    )
    assert anatomy_tiny.main(arguments.split()) == 0
    request = BranchRequest.parse(f"anatomy=tiny:{tmp_path}?boxes=whole-hand")
    assert load_branch(request).precision == "float32"
