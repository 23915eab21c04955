"""Two processes that share a network out do what one does, hold half each, write whole files."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heads.errors import BadSetting
from heads.finetuning.setup import BACKBONE, HEAD
from heads.parts.arrays import load_tensors
from tests.test_heads import finetunes, ranks
from tests.test_heads.finetunes import config, finetuning
from tests.test_heads.sharded_rank import numbers
from tests.test_heads.sharded_runs import (
    CASES,
    INTERRUPTED,
    INTERRUPTED_CASE,
    JUDGED,
    RANDOM,
    SAVED,
    STOP,
    VIDEOS,
    odd_probabilities,
    running,
)

Told = list[dict[str, dict[str, Any]]]
FLOAT32 = [name for name, case in CASES.items() if "precision" not in case.settings]
PROJECTION = "clip_projector.cross_attn.proj.weight"
UNMOVED = ("cross_attn.k_bias", "norm1_k.bias")
"""What is added to all keys alike changes nothing: gradients of rounding noise, made steps of."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`store.zarr`, `data`, and in `shared` what two processes made."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sharding")
    finetunes.write_store(folder, VIDEOS, f"{RANDOM}&")
    with running(folder, INTERRUPTED_CASE, out=folder / "shared" / "alone") as ready:
        ready.finetuner.fit(stop_after=STOP)
    ranks.wait(ranks.start("tests.test_heads.sharded_rank", folder, folder / "shared"))
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def told(folder: Path) -> Told:
    return [json.loads((folder / "shared" / f"{rank}.json").read_text()) for rank in range(2)]


def same(ours: torch.Tensor, theirs: torch.Tensor, lr: float = 1e-3) -> None:
    """Within 1e-5, but for one weight in 5,000 whose gradient is next to nothing: Adam divides such
    by themselves, rounding and all. None is a tenth of a step away."""
    apart = (ours - theirs).detach().abs()
    assert int((apart > 1e-5).sum()) <= max(1, apart.numel() // 5000)
    assert float(apart.max()) < 0.1 * lr


@pytest.mark.parametrize("name", FLOAT32)
def test_two_do_what_one_does(folder: Path, told: Told, name: str, tmp_path: Path) -> None:
    case = CASES[name]
    uncut = {what: value for what, value in case.settings.items() if what != "accumulate"}
    with running(folder, replace(case, settings=uncut)) as one:
        before = one.finetuner.net.backbone.get_parameter(PROJECTION).detach().clone()
        one.finetuner.fit(stop_after=99)
        if name == JUDGED:
            for mine, shared in zip(
                odd_probabilities(one), told[0][name]["probabilities"], strict=True
            ):
                np.testing.assert_allclose(mine, shared, atol=1e-5)
        one.save(tmp_path)
    assert one.finetuner.step >= 2
    for found in (told[0][name], told[1][name]):
        np.testing.assert_allclose(found["losses"], one.finetuner.losses, rtol=1e-5)
        np.testing.assert_allclose(found["history"], one.finetuner.history, rtol=1e-4)
    for file in (BACKBONE, f"{HEAD}/head.safetensors"):
        ours, theirs = load_tensors(tmp_path / file), load_tensors(folder / "shared" / name / file)
        assert ours.keys() == theirs.keys()
        for key in ours:
            if not key.endswith(UNMOVED):
                same(ours[key], theirs[key])
    moved = load_tensors(tmp_path / BACKBONE)[PROJECTION] - before
    assert float(moved.abs().max()) > 1e-4  # so that what is compared was trained


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_stays_near(folder: Path, told: Told, name: str) -> None:
    with running(folder, CASES[name]) as one:
        one.finetuner.fit(stop_after=99)
    np.testing.assert_allclose(told[0][name]["losses"], one.finetuner.losses, rtol=1e-3)
    assert told[0][name]["losses"] != told[0]["blocks"]["losses"]


@pytest.mark.parametrize("name", ["pool", "parts", "end-to-end"])
def test_each_process_holds_half(folder: Path, told: Told, name: str) -> None:
    with running(folder, CASES[name]) as one:
        net = one.finetuner.net
        learning = numbers(p for p in net.parameters() if p.requires_grad)
        whole = {"parameters": numbers(net.parameters()), "moments": 2 * learning, "best": learning}
        blocks = numbers(net.backbone.get_submodule("blocks").parameters())
    assert [rank[name]["blocks"] for rank in told] == [blocks // 2] * 2
    for what, count in whole.items():
        shares = [rank[name][what] for rank in told]
        assert sum(shares) == count
        assert max(shares) < 0.6 * count  # the first has what has one row, such as positions


@pytest.mark.parametrize("begun", ["shared", "alone"])
def test_a_stopped_run_goes_on(folder: Path, told: Told, begun: str) -> None:
    with running(folder, INTERRUPTED_CASE) as whole:
        whole.finetuner.fit()
    best = int(np.argmax(whole.finetuner.history))
    assert 0 < best < len(whole.finetuner.history) - 1
    assert told[0][begun]["start"] == SAVED
    np.testing.assert_allclose(told[0][begun]["losses"], whole.finetuner.losses, rtol=1e-5)
    np.testing.assert_allclose(told[0][begun]["history"], whole.finetuner.history, rtol=1e-4)


def test_one_process_goes_on_with_what_two_began(folder: Path) -> None:
    with running(folder, INTERRUPTED_CASE) as whole:
        whole.finetuner.fit()
    with running(folder, INTERRUPTED_CASE, out=folder / "shared" / "handed over") as ready:
        assert ready.finetuner.step == SAVED
        ready.finetuner.fit()
    np.testing.assert_allclose(ready.finetuner.losses, whole.finetuner.losses, rtol=1e-5)
    np.testing.assert_allclose(ready.finetuner.history, whole.finetuner.history, rtol=1e-4)
    for name, tensor in ready.finetuner.net.learnt().items():
        if not name.endswith(UNMOVED):
            expected = whole.finetuner.net.learnt()[name]
            same(tensor, expected, float(INTERRUPTED["lr"]))


def test_one_process_has_nobody_to_share_with(folder: Path) -> None:
    with (
        pytest.raises(BadSetting, match="torchrun --nproc-per-node"),
        finetuning(folder, "pool", config=config(shard=True)),
    ):
        pass
