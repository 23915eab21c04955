"""The consistency of frames: VBench's formula, the frames it is asked of, and the branch."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from extract.branch import Branch, BranchRequest, load_branch
from extract.decoding.frames import read_frames
from extract.decoding.video import open_video
from extract.errors import BadSetting, BadWeights, OverLimit, VideoError
from extract.manifest.manifest import read_manifest
from extract.priors import squares
from extract.priors.consistency import inconsistency
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.views.protocol import Protocol
from tests.test_extract.clips import write_clip

PRIORS = Path(__file__).parent.parent / "golden" / "priors"
DINO, CLIP = PRIORS / "dinov2.pth", PRIORS / "clip.pt"
Frame = NDArray[np.uint8]


def load(query: str = "pairs=2", weights: Path | None = None) -> Branch:
    place = "" if weights is None else f":{weights}"
    return load_branch(BranchRequest.parse(f"appearance=dinov2-tiny{place}?{query}"))


def picture(seed: int, height: int = 90, width: int = 160) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_hand(features_td: NDArray[np.float64]) -> list[float]:
    """VBench's consistency of each frame but the first."""

    def alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return max(0.0, float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))

    first = features_td[0]
    return [
        (alike(now, first) + alike(now, before)) / 2
        for before, now in itertools.pairwise(features_td)
    ]


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.integers(2, 9), st.integers(1, 6))
def test_inconsistency_is_one_less_vbenchs_consistency(seed: int, frames: int, width: int) -> None:
    features = np.random.default_rng(seed).normal(0.3, 1, (3, frames, width))
    found = inconsistency(torch.from_numpy(features))
    wanted = 1 - np.array([by_hand(video) for video in features])
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_the_order_of_frames_matters_beyond_the_first() -> None:
    a, b, c = (np.array(v, np.float64) for v in ([1, 0, 0], [1, 1, 0], [1, 0, 1]))
    back_and_forth = torch.from_numpy(np.stack([[a, b, c, b, c], [a, b, b, c, c]]))
    jumping, settled = inconsistency(back_and_forth).mean(1).tolist()
    assert jumping > settled > 0


@pytest.mark.parametrize("with_clip", [False, True])
def test_the_branch_says_what_transformers_features_say(*, with_clip: bool) -> None:
    expected = load_file(PRIORS / "expected.safetensors")
    frames_thwc = expected["frames"].repeat_interleave(4, 1).repeat_interleave(4, 2)
    branch = load(f"pairs=2&clip={CLIP}" if with_clip else "pairs=2", DINO)
    found = branch.forward(frames_thwc[None])
    wanted = 1 - expected["subject"]
    if with_clip:
        wanted = (wanted + 1 - expected["background"]) / 2
    torch.testing.assert_close(found["curve"][0].double(), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(found["score"][0, 0].double(), wanted.mean(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("query", ["pairs=5", "pairs=5&clip=tiny"])
def test_frames_that_stay_score_nothing_and_others_something(query: str) -> None:
    branch = load(query)
    still = np.broadcast_to(squares.square(picture(0)), (1, 6, 224, 224, 3)).copy()
    results = branch.forward(torch.from_numpy(still))
    assert float(results["curve"].abs().max()) < 1e-9
    changes = still.copy()
    changes[0, 3:] = squares.square(picture(1) // 3)
    curve = branch.forward(torch.from_numpy(changes))["curve"][0]
    assert float(curve[:2].max()) < 1e-9
    assert (
        float(curve[2]) == pytest.approx(2 * float(curve[3])) == pytest.approx(2 * float(curve[4]))
    )
    assert float(curve[4]) > 1e-3


@pytest.mark.parametrize("query", ["pairs=3", "pairs=3&clip=tiny"])
def test_a_video_has_the_same_bits_in_any_company(query: str) -> None:
    branch = load(query)
    torch.manual_seed(0)
    videos = branch.example(4)
    together = branch.forward(videos)
    for row in range(4):
        alone = branch.forward(videos[row : row + 1])
        assert torch.equal(alone["curve"][0], together["curve"][row])
        assert torch.equal(alone["score"][0], together["score"][row])


def prepared(frames: list[Frame], pairs: int) -> Tensor:
    views = Protocol.parse(f"pairs-{pairs}").views("v", len(frames))
    return torch.from_numpy(squares.squares(dict(enumerate(frames)), views))


def test_the_first_frame_of_each_pair_and_the_second_of_the_last_are_taken() -> None:
    frames = [picture(seed) for seed in range(12)]
    made = prepared(frames, 4)
    starts = [0 + (2 * part + 1) * 11 // 8 for part in range(4)]
    for row, number in enumerate([*starts, starts[-1] + 1]):
        assert np.array_equal(made[0, row].numpy(), squares.square(frames[number]))


def test_a_constant_video_two_frames_and_one() -> None:
    branch = load("pairs=8")
    constant = branch.forward(prepared([picture(1)] * 20, 8))
    assert float(constant["score"].abs().max()) < 1e-9
    two = branch.forward(prepared([picture(1), picture(2) // 2], 8))
    assert float(two["curve"][0, :-1].abs().max()) < 1e-9
    assert float(two["score"]) == pytest.approx(float(two["curve"][0, -1]) / 8)
    assert float(two["score"]) > 0
    with pytest.raises(VideoError, match="one frame"):
        prepared([picture(1)], 8)


@settings(max_examples=25)
@given(st.integers(20, 300), st.integers(20, 300), st.integers(0, 99))
def test_a_square_is_what_clips_preprocessing_makes(height: int, width: int, seed: int) -> None:
    """Resize and CenterCrop of an image, written out."""
    frame = picture(seed, height, width)
    short = min(height, width)
    size = (int(224 * width / short), int(224 * height / short))
    whole = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    wanted = whole.crop((left, top, left + 224, top + 224))
    assert np.array_equal(squares.square(frame), np.asarray(wanted))


def test_small_frames_grow_and_endless_ones_are_refused() -> None:
    assert (squares.square(np.full((1, 1, 3), 77, np.uint8)) == 77).all()
    with pytest.raises(OverLimit, match="100000x1 becomes 22400000x224"):
        squares.square(np.zeros((1, 100_000, 3), np.uint8))


def test_both_networks_and_their_files_are_in_the_fingerprint_and_the_provenance() -> None:
    texts = ("pairs=2", "pairs=2&clip=tiny", f"pairs=2&clip={CLIP}", "pairs=3")
    made = [load(text, weights) for text in texts for weights in (None, DINO)]
    assert len({branch.offer.fingerprint for branch in made}) == len(made)
    same = load(f"pairs=2&clip={PRIORS / 'clip_hf.safetensors'}", PRIORS / "dinov2_hf.safetensors")
    assert same.offer.fingerprint == load(f"pairs=2&clip={CLIP}", DINO).offer.fingerprint
    assert same.provenance["source"] == "dinov2_hf.safetensors and clip_hf.safetensors"
    assert "subject (dinov2-tiny) and of the background (CLIP tiny)" in same.provenance["meaning"]


def test_what_is_asked_wrongly() -> None:
    with pytest.raises(BadSetting, match=r"have: colours, dinov2-s14, .*dino-b16, dinov2-tiny"):
        load_branch(BranchRequest.parse("appearance=dinov2"))
    with pytest.raises(BadSetting, match="have: pairs, dtype, clip, precision"):
        load("pare=2")
    with pytest.raises(BadWeights, match=r"dinov2_vitb14_pretrain\.pth.*appearance=colours"):
        load_branch(BranchRequest.parse("appearance=dinov2-b14"))
    with pytest.raises(BadWeights, match="is not a file"):
        load("clip=nowhere.pt")
    with pytest.raises(BadWeights, match=r"no image tower of CLIP"):
        load(f"clip={DINO}")
    with pytest.raises(BadWeights, match=r"not dinov2-tiny\. missing"):
        load(weights=CLIP)


def test_the_pipeline_says_what_the_branch_says(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number, frames in enumerate((6, 2, 1)):
        write_clip(tmp_path / "raw" / f"{number}.mp4", frames=frames, size=(96 + 16 * number, 64))
    branch = load("pairs=4&clip=tiny")
    manifest = read_manifest(str(tmp_path / "raw"))
    run = Extraction.begin(manifest, tmp_path / "s.zarr", [branch], Settings(protocol="pairs-4"))
    summary = run.run(workers=1, bar=False)
    assert summary.ok == 2
    table = run.store.table(["appearance/curve", "appearance/score"], protocol="pairs-4")
    for row, video in enumerate(manifest.videos[:2]):
        with open_video(video.path) as opened:
            views = Protocol.parse("pairs-4").views(video.id, opened.info.frames)
            squared = squares.squares(read_frames(opened, views), views)
        wanted = branch.numpy(branch.forward(torch.from_numpy(squared)))
        assert table.ids[row] == video.id
        np.testing.assert_array_equal(table.arrays["appearance/curve"][row], wanted["curve"])
        np.testing.assert_array_equal(table.arrays["appearance/score"][row], wanted["score"])
