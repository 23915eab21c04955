"""The recipe of the tiny networks: resumable to the bit, and true to the networks it trains."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks import tiny_start, train_tiny
from benchmarks.tiny_clips import CLASSES, NAMES, four
from benchmarks.tiny_goals import kept, video_batch
from benchmarks.train_tiny import Recipe, Run, Trainee, train
from extract.branch import BranchRequest, load_branch
from extract.views.transforms import IMAGENET_MEAN, IMAGENET_STD
from heads.errors import BadCheckpoint
from heads.finetuning.processes import Processes

SMALL = Recipe(fours=2, looks=1, batch=4, depth_batch=4, keep=6, depth_keep=40, warm=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_tiny, "CASTS_SEEN", 2)
    monkeypatch.setattr(tiny_start, "_PATCHES", 300)


def run(out: Path, rounds: int, recipe: Recipe = SMALL) -> None:
    out.mkdir(exist_ok=True)
    train(Run(recipe, out, Processes(), None), rounds, rounds, 1)


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    run(tmp_path / "whole", 2)
    run(tmp_path / "parts", 1)
    first = load_file(tmp_path / "parts" / train_tiny.FILES["internvideo2"])
    run(tmp_path / "parts", 2)
    for name, file in train_tiny.FILES.items():
        whole, parts = (load_file(tmp_path / which / file) for which in ("whole", "parts"))
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
        load_branch(BranchRequest.parse(f"{name}=tiny:{tmp_path / 'whole' / file}"))
    now = load_file(tmp_path / "parts" / train_tiny.FILES["internvideo2"])
    assert not torch.equal(first["blocks.0.attn.qkv.weight"], now["blocks.0.attn.qkv.weight"])
    with pytest.raises(BadCheckpoint, match="another run"):
        run(tmp_path / "parts", 3, Recipe(seed=2))


def test_with_all_tokens_kept_the_vectors_are_the_networks() -> None:
    net = Trainee()
    net.start(3)
    samples = list(four((1, 2)))
    clips = torch.from_numpy(np.stack([sample.clip_thwc for sample in samples])).float() / 255
    clips = (clips - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    with torch.inference_mode():
        _, found = net.video.vectors(video_batch(samples, 64, 8, (0,)))
        wanted = net.video.model(clips.permute(0, 4, 1, 2, 3))
    for name, vectors in wanted.items():
        torch.testing.assert_close(found[name], vectors, rtol=1e-4, atol=1e-5)


def test_kept_tokens_stand_for_all() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.random((20, 64)) < 0.3
    places, weights = kept(wanted, 12, 9, rng)
    assert all(len(set(row)) == 12 for row in places.tolist())
    chosen = np.take_along_axis(wanted, places, 1)
    np.testing.assert_allclose((weights * chosen).sum(1), wanted.sum(1), rtol=1e-6)
    np.testing.assert_allclose(weights.sum(1), 64, rtol=1e-6)
    assert chosen.sum(1).max() <= 9


def test_a_four_is_one_of_each_class_and_alike_but_for_the_fault() -> None:
    found = list(four((4, 1)))
    assert [sample.label for sample in found] == list(range(len(CLASSES)))
    real = found[CLASSES.index("real")]
    assert NAMES[real.kind] == "none"
    assert not real.wrong_tgg.any()
    assert not real.limb_tgg.any()
    for sample in found:
        same = (sample.clip_thwc[0] == real.clip_thwc[0]).mean()
        assert same > 0.5
        assert sample is real or (sample.clip_thwc != real.clip_thwc).any()
    again = list(four((4, 1)))
    assert all((a.clip_thwc == b.clip_thwc).all() for a, b in zip(found, again, strict=True))
