"""`telltale demo` as a newcomer runs it, interrupted and run again."""

from pathlib import Path

import pytest

from features_store import Store
from heads import demo
from tests.test_features_store import samples
from tests.test_features_store.test_cli import telltale


def test_the_demo_runs_goes_on_and_leaves_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = telltale("demo", "--out", tmp_path)
    assert "internvideo2-tiny" in printed
    assert printed.count("39 ok, 1 failed") == 3
    page = (tmp_path / "report.html").read_text()
    assert "random weights" in page
    assert page.count("data:image/jpeg") == 4
    assert "http" not in page
    before = samples.contents(Store.open(tmp_path / "features.zarr"))
    for lost in (tmp_path / "features.zarr/val").glob("*/status/c/2"):
        lost.unlink()
    monkeypatch.setattr(demo, "write_data_set", None)  # the videos are there: none is made again
    telltale("demo", "--out", tmp_path)
    assert samples.contents(Store.open(tmp_path / "features.zarr")) == before
