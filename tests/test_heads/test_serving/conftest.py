"""Services for tests, and a judge that needs no network."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from heads.serving.worker import Worker
from tests.test_heads.test_serving.judges import FakeJudge, bundle_in
from tests.test_heads.test_serving.served import Open, serving


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
