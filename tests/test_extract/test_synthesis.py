"""The renderer: what it says of a frame is what it drew, and a fault changes what it claims."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.synthesis.clip import Clip, ClipPlan, Shot, render
from extract.synthesis.faults import KINDS, Fault
from extract.synthesis.shapes import PARTS, stamp
from extract.synthesis.truth import OBJECT, Box, truth

KIND_NAMES = sorted(kind for kinds in KINDS.values() for kind in kinds if kind != "none")
CALM_FRAMES = 24


def plan(seed: int, shot: Shot = "full", label: str = "real") -> ClipPlan:
    return ClipPlan(
        width=160, height=128, frames=CALM_FRAMES, fps=8, tint=(190, 180, 170), grain=2.0,
        label=label, severity=0.7, seed=seed, shot=shot,
    )  # fmt: skip


def faulty(clip: Clip, kind: str) -> Clip:
    """The same clip with that kind of fault."""
    one = copy.copy(clip)
    one.fault = replace(clip.fault, kind=kind)
    return one


seeds = st.integers(0, 2**32)
few = settings(max_examples=12, deadline=None)


@given(seeds, st.sampled_from(["none", *KIND_NAMES]), st.integers(0, CALM_FRAMES - 1))
@few
def test_boxes_are_inside_and_hold_what_they_name(seed: int, kind: str, number: int) -> None:
    clip = faulty(Clip(plan(seed)), kind)
    found = truth(clip, number)
    for box, names in (
        (found.person, PARTS[OBJECT + 1 :]),
        (found.face, ("face",)),
        (found.hands[0], ("left hand",)),
        (found.hands[1], ("right hand",)),
    ):
        inside = np.isin(found.parts_hw, [PARTS.index(name) for name in names])
        assert (box is not None) == inside.any()
        if box is None:
            continue
        rows, columns = np.nonzero(inside)
        assert box == Box(
            left=columns.min(), top=rows.min(), right=columns.max() + 1, bottom=rows.max() + 1
        )
        assert 0 <= box.left < box.right <= 160
        assert 0 <= box.top < box.bottom <= 128


@given(seeds, st.sampled_from(["none", "through", "occlusion"]), st.integers(0, CALM_FRAMES - 1))
@few
def test_what_is_seen_is_what_is_nearest(seed: int, kind: str, number: int) -> None:
    clip = faulty(Clip(plan(seed)), kind)
    drawing, found = clip.drawing(number), truth(clip, number)
    size = found.depth_hw.shape
    nearest = clip.scene.depth(drawing.offset)
    for shape in drawing.shapes:
        mask = stamp([shape], (size[0], size[1])) == 0
        nearest[mask] = np.minimum(nearest[mask], shape.depth) if mask.any() else nearest[mask]
    np.testing.assert_allclose(found.depth_hw, nearest, atol=1e-6)


@given(seeds)
@few
def test_orders_hold_in_real_clips_and_break_in_spatial_faults(seed: int) -> None:
    clip = Clip(plan(seed))

    def orders(one: Clip) -> set[bool]:
        """Whether the object is in front of the person, of each of its parts in each frame."""
        return {
            shape.depth < 4.0
            for number in range(CALM_FRAMES)
            for shape in one.drawing(number).shapes
            if shape.part == "object" and "post" not in shape.name
        }

    assert orders(clip) == {clip.prop.front}
    assert orders(faulty(clip, "through")) == {False, True}
    assert orders(faulty(clip, "occlusion")) == {False, True}
    assert orders(faulty(clip, "limb-size")) == {clip.prop.front}


@pytest.mark.parametrize("label", sorted(KINDS))
def test_the_same_plan_gives_the_same_pixels_in_any_order(label: str) -> None:
    made = render(plan(5, label=label))
    assert made.shape == (CALM_FRAMES, 128, 160, 3)
    np.testing.assert_array_equal(made[[20, 3]], render(plan(5, label=label), [20, 3]))


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_nothing_is_wrong_in_the_first_frame_and_something_later(kind: str) -> None:
    for seed in range(6):
        calm = Clip(plan(seed))
        clip = faulty(calm, kind)
        first = clip.paint(clip.drawing(0))
        np.testing.assert_array_equal(first, calm.paint(calm.drawing(0)))
        changed = [
            np.abs(clip.paint(clip.drawing(n)).astype(int) - calm.paint(calm.drawing(n))).max()
            for n in range(8, CALM_FRAMES)
        ]
        assert max(changed) > 40


CLAIMS = {
    "colour": {"look"},
    "build": {"look", "bones"},
    "pattern": {"look"},
    "through": {"object"},
    "occlusion": {"object"},
    "limb-size": {"limb_sizes", "bones"},
    "jitter": {"bones"},
    "spin": {"yaw", "bones"},
    "jump": {"bones"},
}


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_fault_changes_what_it_claims_and_nothing_else(kind: str) -> None:
    calm = Clip(plan(3))
    clip = faulty(calm, kind)
    changed = set()
    for number in range(CALM_FRAMES):
        a, b = calm.drawing(number), clip.drawing(number)
        things = [[s for s in drawing.shapes if s.part == "object"] for drawing in (a, b)]
        changed |= {
            name
            for name in ("look", "bones", "yaw", "limb_sizes")
            if getattr(a, name) != getattr(b, name)
        }
        if things[0] != things[1]:
            changed.add("object")
        assert a.offset == b.offset
    assert changed == CLAIMS[kind]


def test_flow_leads_to_the_same_thing_in_the_next_frame() -> None:
    clip = faulty(Clip(plan(8)), "none")
    for number in (2, 9):
        now, later = truth(clip, number), truth(clip, number + 1)
        rows, columns = np.nonzero(now.parts_hw > OBJECT)
        moved = np.stack([columns, rows], 1) + now.flow_hw2[rows, columns]
        places = np.rint(moved).astype(int)
        inside = ((places >= 0) & (places < (160, 128))).all(1)
        there = later.parts_hw[places[inside, 1], places[inside, 0]]
        here = now.parts_hw[rows, columns][inside]
        assert (there == here).mean() > 0.85
    assert np.abs(truth(clip, CALM_FRAMES - 1).flow_hw2).max() < 1e-9


def test_close_ups_have_large_hands_and_faces() -> None:
    def area(box: Box | None) -> int:
        return 0 if box is None else (box.right - box.left) * (box.bottom - box.top)

    for seed in range(4):
        full, close = (truth(Clip(plan(seed, shot)), 0) for shot in ("full", "close"))
        assert area(close.face) > 2 * area(full.face)
        hands = [sum(area(hand) for hand in found.hands) for found in (full, close)]
        assert hands[1] > hands[0]


def test_hidden_limbs_are_not_the_ones_that_change() -> None:
    clip = next(c for c in (Clip(plan(seed)) for seed in range(50)) if c.prop.hides is not None)
    assert clip.prop.hides is not None
    assert clip.fault.limb % 2 != clip.prop.hides
    moved: Fault = replace(clip.fault, limb=2 + clip.prop.hides).beside(clip.prop.hides)
    assert moved.limb == 3 - clip.prop.hides
