"""`telltale train --from`: learning begins with a bundle's weights and is drawn back to them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from features_store import Store
from heads.bundle import Bundle
from heads.commands.main import main
from heads.parts.drawn_back import Trained, adapted
from tests.test_heads.stores import write_features
from tests.test_heads.tables import CLASSES, table

START = Trained(weight=torch.zeros(2, 3), bias=torch.tensor([0.5, -0.5]))


class Command:
    """`telltale` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object, expect: int = 0) -> str:
        status = main([str(word) for word in words])
        said = self._capsys.readouterr()
        assert status == expect, said.err
        return said.out + said.err


@pytest.fixture
def telltale(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def changed_by(videos: int, c: float = 0.01) -> float:
    random = np.random.default_rng(videos)
    labels = np.arange(videos) % 2
    x = random.normal(size=(videos, 3)) + labels[:, None]
    found = adapted(
        START, torch.from_numpy(x).float(), torch.from_numpy(labels), torch.ones(videos), c
    )
    return float((found.weight - START.weight).norm() + (found.bias - START.bias).norm())


def test_few_videos_change_little_and_many_change_much() -> None:
    assert changed_by(4) < 0.1 < 0.5 < changed_by(4000)
    assert changed_by(4, c=1e-9) < 1e-6


def test_the_optimum_is_where_pull_and_loss_are_even() -> None:
    random = np.random.default_rng(0)
    x, labels = torch.from_numpy(random.normal(size=(50, 3))).float(), torch.arange(50) % 2
    found = adapted(START, x, labels, torch.ones(50), 0.5)
    weight, bias = (t.clone().requires_grad_() for t in (found.weight, found.bias))
    missed = torch.nn.functional.cross_entropy(x @ weight.T + bias, labels, reduction="sum")
    pull = (weight - START.weight).square().sum() + (bias - START.bias).square().sum()
    (0.5 * missed + pull / 2).backward()  # type: ignore[no-untyped-call]
    assert float(weight.grad.abs().max()) < 1e-4  # type: ignore[union-attr]
    assert float(bias.grad.abs().max()) < 1e-4  # type: ignore[union-attr]


def made(place: Path, name: str, videos: int) -> Path:
    """A store without splits."""
    found = table(videos, seed=len(name), video_signal=4.0)
    store = Store.create(place / name, scheme="hfv4", classes=CLASSES)
    ids = [f"{name}/{video}" for video in found.ids]
    store.add_videos({"id": ids, "label": found.labels, "rank": found.ranks})
    write_features(store, found)
    return place / name


def test_a_bundle_goes_on_from_another(tmp_path: Path, telltale: Command) -> None:
    old, new = made(tmp_path, "old", 80), made(tmp_path, "mine", 24)
    telltale("train", "--store", old, "--head", "linear", "--validation", "0", "--set", "c=0.003",
             "--out", tmp_path / "a")  # fmt: skip
    said = telltale("train", "--from", tmp_path / "a", "--store", new, "--out", tmp_path / "b")
    assert "24 videos to learn from (val), 0 to decide by" in said
    assert "out of fold (5 folds" in said
    first, second = Bundle.load(tmp_path / "a"), Bundle.load(tmp_path / "b")
    assert second.about.config["c"] == 0.003
    assert second.about.provenance["began with"] == first.content
    assert second.rows.counts()["learnt"] == 80 + 24
    began, ended = (one.head._weight for one in (first, second))  # type: ignore[attr-defined]
    assert 0 < float((ended - began).norm()) < 0.5 * float(began.norm())
    again = telltale("train", "--from", tmp_path / "a", "--store", old, "--out", tmp_path / "c")
    assert "careful: of 80 judged videos 80 were learnt from" in again


def test_what_cannot_be_gone_on_from_is_refused(tmp_path: Path, telltale: Command) -> None:
    old = made(tmp_path, "old", 80)
    telltale("train", "--store", old, "--head", "knn", "--validation", "0", "--out", tmp_path / "a")
    train = ("train", "--out", tmp_path / "b")
    said = telltale(*train, "--from", tmp_path / "a", "--store", old, expect=1)
    assert "its head is knn; give a linear one" in said
    assert "one of them" in telltale(*train, "--from", "everyday", expect=1)
    assert "--data belongs to --from" in telltale(*train, "--data", "m.csv", expect=1)
    assert "Give --store STORE" in telltale(*train, expect=1)
    said = telltale(*train, "--from", "everyday", "--store", old, expect=1)
    assert "frames-8@4" in said


@pytest.mark.parametrize("share", ["1", "-0.1"])
def test_shares_that_are_none_are_refused(tmp_path: Path, telltale: Command, share: str) -> None:
    old = made(tmp_path, "old", 40)
    said = telltale("train", "--store", old, "--head", "linear", f"--validation={share}",
                    "--out", tmp_path / "a", expect=1)  # fmt: skip
    assert "give 0 or more, less than 1" in said
