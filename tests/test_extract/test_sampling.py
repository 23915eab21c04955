"""Frame indices against the released code's, for every length in the golden file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extract.views import protocol, sampling

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "sampling.json").read_text()
)
CASES = sorted(GOLDEN["cases"].items(), key=lambda case: int(case[0]))


class _ReleasedDraw:
    """The legacy generator that the golden indices were drawn with."""

    def __init__(self, seed: int) -> None:
        self.state = np.random.RandomState(seed)

    def integers(self, low: int, high: int, size: int) -> Iterable[int]:
        drawn: Iterable[int] = self.state.randint(low, high, size=size)
        return drawn


@pytest.mark.parametrize(("count", "expected"), CASES)
def test_indices_are_the_released_ones(count: str, expected: dict[str, Any]) -> None:
    number = int(count)
    assert list(sampling.validation_frames(number)) == expected["validation"]
    chunks = sampling.interleaved_frames(number, GOLDEN["test_num_segment"])
    assert [list(chunk) for chunk in chunks] == expected["test_chunks"]
    assert sorted(frame for chunk in chunks for frame in chunk) == expected["test_sorted"]
    drawn = sampling.train_frames(number, _ReleasedDraw(GOLDEN["train_seed"]))
    assert list(drawn) == expected["train"]


@pytest.mark.parametrize("case", GOLDEN["other_settings"])
def test_other_segment_counts(case: dict[str, Any]) -> None:
    clip = case["num_segment"]
    chunks = sampling.interleaved_frames(case["n"], case["test_num_segment"], clip)
    assert [list(chunk) for chunk in chunks] == case["test_chunks"]
    assert list(sampling.validation_frames(case["n"], clip)) == case["validation"]


def test_views_of_a_protocol_use_those_indices() -> None:
    for count, expected in CASES:
        test_views = protocol.Protocol.parse("test-4x3").views("v.mp4", int(count))
        assert [view.index for view in test_views] == list(range(12))
        for view in test_views:
            assert list(view.frames) == expected["test_chunks"][view.index // 3]
            assert view.crop.position == view.index % 3
        (only,) = protocol.Protocol.parse("val").views("v.mp4", int(count))
        assert list(only.frames) == expected["validation"]
        assert only.depth_frames == (only.frames[0], only.frames[3])
