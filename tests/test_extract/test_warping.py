"""What flow leaves unexplained: nothing of rigid motion, more the more things change."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from extract.priors import flow
from extract.priors.warping import Warp, depth_distortion, find_warp, warped, warping_error

SEEDS = st.integers(0, 2**16)
SHIFT = st.integers(-6, 6)


def smooth(seed: int, channels: int, height: int = 40, width: int = 48) -> Tensor:
    """Blobs in 0…1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, height // 8, width // 8, generator=generator)
    size = (height, width)
    return functional.interpolate(coarse, size=size, mode="bilinear", align_corners=True)


def uniform(right: float, down: float, height: int = 40, width: int = 48) -> Tensor:
    return (
        torch.tensor([float(right), float(down)])
        .reshape(1, 2, 1, 1)
        .expand(1, 2, height, width)
        .clone()
    )


def moved(picture: Tensor, right: int, down: int) -> Tensor:
    """Everything goes right and down; it comes in from the other side."""
    return picture.roll((down, right), (2, 3))


@settings(max_examples=25)
@given(SEEDS, SHIFT, SHIFT)
def test_rigid_motion_is_no_error_in_colour_nor_in_depth(seed: int, right: int, down: int) -> None:
    there = uniform(right, down)
    warp = find_warp(there, -there)
    picture = smooth(seed, 3)
    inside = (40 - abs(down)) * (48 - abs(right))
    assert int(warp.counts_phw.sum()) == inside
    assert float(warping_error(picture, moved(picture, right, down), warp)) < 1e-10
    depth = 1 + smooth(seed, 1)
    second = 3.7 * moved(depth, right, down)
    assert float(depth_distortion(depth[:, 0], second[:, 0], warp)) < 1e-5


@settings(max_examples=25)
@given(SEEDS, SHIFT, st.floats(0.01, 100))
def test_depth_that_wobbles_is_distorted_the_more_it_wobbles(
    seed: int, right: int, factor: float
) -> None:
    there = uniform(right, 1)
    warp = find_warp(there, -there)
    depth, wobble = 1 + smooth(seed, 1), smooth(seed + 1, 1) - 0.5
    second = moved(depth, right, 1)
    found = [
        depth_distortion(depth[:, 0], (second * (amount * wobble).exp())[:, 0], warp)
        for amount in (0.0, 0.1, 0.4, 1.6)
    ]
    assert found == sorted(found)
    assert float(found[1]) > 1e-3
    other = depth_distortion(factor * depth[:, 0], (second * (0.4 * wobble).exp())[:, 0], warp)
    torch.testing.assert_close(other, found[2], atol=1e-5, rtol=1e-4)


@settings(max_examples=10)
@given(SEEDS)
def test_colour_that_changes_is_an_error_the_more_it_changes(seed: int) -> None:
    picture, change = smooth(seed, 3), smooth(seed + 1, 3) - 0.5
    warp = find_warp(uniform(0, 0), uniform(0, 0))
    errors = [warping_error(picture, picture + a * change, warp) for a in (0.0, 0.1, 0.5, 1.0)]
    assert errors == sorted(errors)
    assert float(errors[0]) < 1e-12
    torch.testing.assert_close(errors[3], (change**2).sum(1).mean()[None])


def test_what_is_hidden_does_not_count() -> None:
    """A block that moves over a still background hides some of it in the second picture."""
    there, back = uniform(0, 0), uniform(0, 0)
    there[:, 0, 10:20, 10:20] = 8
    back[:, 0, 10:20, 18:28] = -8
    counts = find_warp(there, back).counts_phw[0]
    assert counts[12:18, 12:17].all()
    assert not counts[12:18, 20:28].any()  # background that the block comes to cover
    assert not counts[12, 9]
    assert not counts[9, 12]  # edges between motions
    assert counts[30:, :].all()


def test_visible_pixels_are_those_of_the_weight_free_flow_beside_edges() -> None:
    random = np.random.default_rng(0)
    a = (smooth(0, 3, 96, 128)[0] * 255).byte().permute(1, 2, 0).numpy()
    b = np.ascontiguousarray(np.roll(a, (2, 3), (0, 1)))
    b[20:50, 30:70] = random.integers(0, 256, (30, 40, 3))
    with flow.one_thread():
        theirs = flow.find_warp(a, b)
        there, back = flow.dis_flow(a, b)
    ours = find_warp(*(torch.from_numpy(each).permute(2, 0, 1)[None] for each in (there, back)))
    assert not (ours.counts_phw[0].numpy() & ~theirs.visible_hw).any()
    assert ours.counts_phw[0].numpy().mean() > 0.5
    torch.testing.assert_close(
        warped(torch.from_numpy(a).permute(2, 0, 1)[None].float(), ours.flow_p2hw)[0],
        torch.from_numpy(flow.warped(a, there)).permute(2, 0, 1),
        atol=3.0, rtol=0,  # OpenCV knows 32 places between two pixels
    )  # fmt: skip


def test_pictures_that_have_nothing_in_common_are_compared_as_a_whole() -> None:
    there = torch.randn(2, 2, 40, 48) * 30
    there[1] = 0
    warp = find_warp(there, there * 3 + 50 * (there != 0))
    assert warp.counts_phw.flatten(1).all(1).tolist() == [True, True]
    black, white = torch.zeros(2, 3, 40, 48), torch.ones(2, 3, 40, 48)
    assert warping_error(black, white, warp).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_a_line_or_a_dot_has_a_number(size: tuple[int, int]) -> None:
    flow_p2hw = torch.zeros(1, 2, *size)
    warp = find_warp(flow_p2hw, flow_p2hw)
    assert isinstance(warp, Warp)
    assert warping_error(torch.zeros(1, 3, *size), torch.ones(1, 3, *size), warp).tolist() == [3.0]
    assert depth_distortion(torch.ones(1, *size), torch.full((1, *size), 7.0), warp).tolist() == [0]
