"""Services for tests, and a judge that needs no network."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from extract.synthesis.data_set import SyntheticOptions, write_data_set
from heads.serving.worker import Worker
from tests.test_heads.bundles import small_bundle
from tests.test_heads.test_serving.judges import FakeJudge, bundle_in
from tests.test_heads.test_serving.served import Open, serving


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of networks that look at made-up people."""
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (found,) = write_data_set(tmp_path_factory.mktemp("clip"), SyntheticOptions(videos=1))
    return found


@pytest.fixture
def judge(tmp_path: Path) -> FakeJudge:
    return FakeJudge(bundle_in(tmp_path / "bundle"))


@pytest.fixture
def opened(tmp_path: Path, judge: FakeJudge) -> Iterator[Open]:
    """Services that close at the end."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            serving(tmp_path / "served", judge, tmp_path / "bundle", **settings)
        )


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes jobs from the queue."""
    monkeypatch.setattr(Worker, "_run", lambda self: self._ending.wait())
