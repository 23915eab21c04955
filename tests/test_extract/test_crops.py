"""What is cut around a box; the released geometry itself is among the golden files."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.people.crops import crop_look, crop_picture, square_around
from extract.people.letterbox import Letterbox

WIDTH, HEIGHT = 160, 120


@pytest.mark.parametrize(
    "box",
    [(math.nan,) * 4, (0, 0, math.inf, 9), (9, 9, 9, 20), (9, 9, 2, 20)],
)
def test_what_is_no_box_has_no_crop(box: tuple[float, float, float, float]) -> None:
    assert square_around(box, WIDTH, HEIGHT) is None


@given(
    left=st.floats(0, WIDTH - 1, width=32), top=st.floats(0, HEIGHT - 1, width=32),
    across=st.floats(0.5, HEIGHT, width=32), down=st.floats(0.5, HEIGHT, width=32),
)  # fmt: skip
def test_a_box_that_fits_is_in_its_crop(
    left: float, top: float, across: float, down: float
) -> None:
    far = [np.float32(min(near + size, most)) for near, size, most in (
        (left, across, WIDTH), (top, down, HEIGHT),
    )]  # fmt: skip
    square = square_around((left, top, float(far[0]), float(far[1])), WIDTH, HEIGHT)
    assert square is not None
    assert 0 <= square.left <= left
    assert far[0] <= square.right <= WIDTH
    assert 0 <= square.top <= top
    assert far[1] <= square.bottom <= HEIGHT
    assert abs((square.right - square.left) - (square.bottom - square.top)) <= 1


def test_blue_first_is_the_same_picture_with_its_colours_the_other_way_round() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    square = square_around((10.0, 20.0, 60.0, 70.0), WIDTH, HEIGHT)
    assert square is not None
    red_first, blue_first = (
        crop_picture(frame, square, crop_look(32, bgr=bgr)) for bgr in (False, True)
    )
    assert red_first.shape == (32, 32, 3)
    np.testing.assert_array_equal(red_first[..., ::-1], blue_first)


def test_a_frame_of_a_pixels_height_keeps_it_on_the_canvas() -> None:
    canvas = Letterbox(width=2000, height=1).canvas(np.zeros((1, 2000, 3), np.uint8))
    assert (canvas == 0).all((1, 2)).sum() == 1
