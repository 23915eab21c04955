"""A bundle, files that are texts, and no network."""

from dataclasses import replace
from pathlib import Path

import pytest

from heads.bundle import Bundle
from heads.scoring import run as run_module
from tests.test_heads.archives import FakeRun, branches, fill, scorer


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = scorer().bundle
    about = replace(
        made.about, config={"epochs": 1},
        branches={name: f"{name}=tiny" for name in ("internvideo2", "depthpro")},
    )  # fmt: skip
    place = tmp_path_factory.mktemp("bundle") / "b"
    Bundle(made.head, about).save(place)
    return place


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    """Files are texts here, and no network runs."""
    run = FakeRun()
    monkeypatch.setattr(run_module, "runner", lambda *_, **__: run)
    monkeypatch.setattr("heads.scoring.watch.runner", lambda *_, **__: run)
    monkeypatch.setattr(run_module, "find_branches", lambda *_: branches())
    return run


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    fill(tmp_path / "in", {"a.mp4": "a", "b.mp4": "b", "sub/c.mp4": "c"})
    return tmp_path / "in"
