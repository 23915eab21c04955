"""Faces: tracks, windows and aligned pictures as released, and what they do with odd input."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity.checking import kind_of
from extract.errors import VideoError
from extract.people import alignment, tracking, windows
from extract.people.detections import Canvas, Found, Points, detections
from extract.people.tracking import Track

GOLDEN = Path("tests/golden/altfreezing")
POINTS: Points = ((20, 22), (40, 22), (30, 34), (22, 44), (38, 44))


def face(
    frame: int, *, score: float = 0.9, left: float = 10, points: Points | None = POINTS
) -> Found:
    return Found(
        frame=frame, kind="face", box=(left, 10, left + 40, 50), score=score, points=points
    )


@pytest.mark.parametrize("name", ["align", "tracking", "windows"])
def test_faces_are_treated_as_released(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    described = json.loads(path.read_text())
    rows = kind_of(path, described)
    assert rows is not None
    checked = list(rows(path, described))
    assert len(checked) > 15
    assert [row.quantity for row in checked if not row.ok] == []


def test_the_likeliest_faces_with_points_are_followed() -> None:
    found = detections(
        [
            face(0, score=0.4),
            face(0, score=0.6),
            face(0, score=0.7),
            face(0, points=None),
            Found(frame=0, kind="person", box=(0, 0, 9, 9)),
            face(2),
        ]
    )
    first, second = tracking.valid_faces(found, 2)
    assert [round(one.score, 6) for one in first] == [0.7, 0.6]
    assert second == []


def test_a_frame_in_which_nobody_looked_is_no_frame_without_faces() -> None:
    found = detections([face(0)], Canvas(frames=(0, 2), width=64, height=64))
    with pytest.raises(VideoError, match="frame 1"):
        tracking.valid_faces(found, 3)


def test_a_frame_is_judged_by_the_windows_that_show_it() -> None:
    tracks = [Track(start=1, faces=(face(1), face(2)))]
    found = windows.windows(tracks, 3)
    shown = [windows.frame_numbers(window, tracks) for window in found]
    assert shown == [(1, 2, 1), (2, 1, 2), (1, 2, 1), (2, 1, 2)]
    assert [window.start for window in found] == [-1, 0, 1, 2]
    scores = windows.frame_scores([0.9, 0.0, 0.9, 0.0], shown, 4)
    assert scores[1] == pytest.approx(4 * 0.9 / 6)
    assert scores[2] == pytest.approx(2 * 0.9 / 6)
    assert math.isnan(scores[0])
    assert math.isnan(scores[3])
    assert math.isnan(windows.video_score([]))


def test_a_face_that_does_not_move_lies_where_the_template_says() -> None:
    frame_hwc = np.zeros((64, 64, 3), np.uint8)
    x, y = (round(number) for number in POINTS[2])
    frame_hwc[y, x] = 255
    crop = alignment.cropped(frame_hwc, face(0).box, POINTS)
    picture_hwc = alignment.aligned([crop, crop], 64, "opencv4")[0]
    row, column = np.unravel_index(picture_hwc[:, :, 0].argmax(), (64, 64))
    right, down = (number / 4 for number in alignment.TEMPLATE[2])
    assert abs(column - right) < 2
    assert abs(row - down) < 2
