"""Frames → tensors against the released code's, from the golden clips."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.parity.systems.humansam import views_of_clips
from extract.errors import BadSetting, OverLimit
from extract.views import transforms
from extract.views.protocol import Protocol
from extract.views.view import Crop, View

GOLDEN = Path(__file__).parents[1] / "golden"
FACTS: dict[str, Any] = json.loads((GOLDEN / "transforms.json").read_text())
TENSORS = views_of_clips(GOLDEN / "transforms.npz")
CLIPS = {
    name.removesuffix("_HWCT"): np.ascontiguousarray(clip.transpose(3, 0, 1, 2))
    for name, clip in np.load(GOLDEN / "transforms_clips.npz").items()
}
SIZE = FACTS["crop_size"]
FRAME_TOLERANCE = 1e-6
DEPTH_TOLERANCE = 1e-5


def views_of(protocol: str, clip: str) -> tuple[View, ...]:
    return Protocol.parse(protocol).views(clip, len(CLIPS[clip]), size=SIZE)


def frames_of(clip: str) -> dict[int, Any]:
    return dict(enumerate(CLIPS[clip]))


@pytest.mark.parametrize("clip", CLIPS)
def test_validation_view(clip: str) -> None:
    (view,) = views_of("val", clip)
    pixels = transforms.view_clip(frames_of(clip), view)
    np.testing.assert_array_equal(pixels, TENSORS[f"{clip}.val.frames_uint8"])
    tensor = transforms.normalise(pixels)
    np.testing.assert_allclose(tensor, TENSORS[f"{clip}.val.tensor"], atol=FRAME_TOLERANCE, rtol=0)


@pytest.mark.parametrize("clip", CLIPS)
def test_all_twelve_test_views(clip: str) -> None:
    clips = transforms.view_clips(frames_of(clip), views_of("test-4x3", clip))
    for row, pixels in enumerate(clips):
        name = f"{clip}.test.chunk{row // 3}.crop{row % 3}.frames_uint8"
        np.testing.assert_array_equal(pixels, TENSORS[name], err_msg=name)
    name = f"{clip}.test.chunk1.crop2.tensor"
    normal = transforms.normalise(clips[5])
    np.testing.assert_allclose(normal, TENSORS[name], atol=FRAME_TOLERANCE, rtol=0)


@pytest.mark.parametrize("clip", CLIPS)
def test_single_crop(clip: str) -> None:
    view = views_of("test-4x1", clip)[0]
    pixels = transforms.view_clip(frames_of(clip), view)
    np.testing.assert_array_equal(pixels, TENSORS[f"{clip}.test1crop.chunk0.frames_uint8"])


def test_depth_input_of_validation_is_the_whole_frame() -> None:
    (landscape,) = views_of("val", "landscape")
    (portrait,) = views_of("val", "portrait")
    found = transforms.depth_inputs(frames_of("landscape"), [landscape])[0]
    expected = TENSORS["landscape.val.depth_x2"]
    np.testing.assert_allclose(found, expected, atol=DEPTH_TOLERANCE, rtol=0)
    found = transforms.depth_inputs(frames_of("portrait"), [portrait])[0, :, :, ::3, ::3]
    expected = TENSORS["portrait.val.depth_x2_every3"]
    np.testing.assert_allclose(found, expected, atol=DEPTH_TOLERANCE, rtol=0)


@pytest.mark.parametrize("clip", CLIPS)
def test_depth_input_of_testing_is_the_crop(clip: str) -> None:
    every = transforms.depth_inputs(frames_of(clip), views_of("test-4x3", clip))
    expected = TENSORS[f"{clip}.test.chunk1.crop2.depth_x2_every3"]
    found = every[5, :, :, ::3, ::3]
    np.testing.assert_allclose(found, expected, atol=DEPTH_TOLERANCE, rtol=0)
    for row in range(12):
        facts = FACTS["views"].get(f"{clip}.test.chunk{row // 3}.crop{row % 3}", {})
        for slot, frame in enumerate((0, 3)):
            expected_sum = facts.get(f"depth_x2_frame{frame}", {}).get("sum")
            if expected_sum is not None:
                found_sum = every[row, slot].sum(dtype=np.float64)
                assert found_sum == pytest.approx(expected_sum, abs=0.5)


def test_full_frame_depth_is_the_same_for_all_crops_of_a_segment() -> None:
    views = views_of("test-4x3", "landscape")
    frames = frames_of("landscape")
    every = transforms.full_frame_depth_inputs(frames, views)
    for row, view in enumerate(views):
        alone = transforms.depth_input(np.stack([frames[n] for n in view.depth_frames]))
        np.testing.assert_array_equal(every[row], alone)
    with pytest.raises(BadSetting, match="have: official, full-frame"):
        transforms.depth_frames(frames, views[0], "half")


@pytest.mark.parametrize("length", [1, 2, 3, 56, 224, 384, 479, 720, 1080, 1280, 1536, 1921, 4096])
def test_depth_taps_are_torchs_matrices(length: int) -> None:
    """Resizing an identity by torch in float32 gives the matrix of one axis."""
    identity = torch.eye(length)[None]
    tall = torch.nn.functional.interpolate(identity, 1536, mode="linear", align_corners=False)
    small = torch.nn.functional.interpolate(tall, scale_factor=0.25, mode="linear")
    taps, weights = transforms.depth_taps(length)
    matrix = np.zeros((length, 384), np.float32)
    for rows, weight in zip(taps, weights, strict=True):
        matrix[rows, np.arange(384)] += weight
    np.testing.assert_allclose(matrix, small[0].numpy(), atol=1e-7, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (720, 1280), (131, 77), (1, 1)])
def test_depth_input_of_noise_is_torchs(height: int, width: int) -> None:
    frames = np.random.default_rng(5).integers(0, 256, (1, height, width, 3)).astype(np.uint8)
    images = (torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    bilinear = {"mode": "bilinear", "align_corners": False}
    tall = torch.nn.functional.interpolate(images, (1536, 1536), **bilinear)  # type: ignore[arg-type]
    small = torch.nn.functional.interpolate(tall, scale_factor=0.25, **bilinear)  # type: ignore[arg-type]
    found = transforms.depth_input(frames)
    np.testing.assert_allclose(found, small.numpy(), atol=DEPTH_TOLERANCE, rtol=0)


def test_depth_input_refuses_other_arrays() -> None:
    with pytest.raises(BadSetting, match=r"float32 \(1, 2, 2, 3\); give uint8"):
        transforms.depth_input(np.zeros((1, 2, 2, 3), np.float32))


@pytest.mark.parametrize("case", FACTS["geometry"])
def test_geometry(case: dict[str, Any]) -> None:
    short = case["short_side"]
    size = transforms.resized_size(case["height"], case["width"], short)
    assert size == (case["resized_height"], case["resized_width"])
    center = transforms.crop_start(*size, Crop(kind="center"), short)
    assert center == (case["center_crop_y"], case["center_crop_x"])
    axis = 0 if case["three_crop_axis"] == "height" else 1
    for position, start in enumerate(case["three_crop_starts"]):
        crop = Crop(kind="uniform", position=position, count=3)
        assert transforms.crop_start(*size, crop, short)[axis] == start
    single = transforms.crop_start(*size, Crop(kind="uniform", count=1), short)
    assert single[axis] == case["single_crop_start"]


def test_a_frame_too_oblong_to_resize_is_refused() -> None:
    with pytest.raises(OverLimit, match="1x4096 becomes 224x917504"):
        transforms.resize_short_side(np.zeros((4096, 1, 3), np.uint8), 224)
