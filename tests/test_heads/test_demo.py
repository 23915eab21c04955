"""The demo as a newcomer runs it: to its end, and again after an interruption."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from features_store import Store, check
from heads.scoring.output import read_scores
from tests.test_features_store.test_cli import here

LIMIT = 300
"""Seconds; on a busy machine the first step has taken more than 120."""


def command(out: Path) -> list[str]:
    return [sys.executable, "-m", "heads", "demo", "--videos", "40", "--out", str(out)]


@pytest.mark.timeout(900)
def test_the_demo_is_interrupted_goes_on_and_leaves_what_it_promises(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(
        command(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    deadline = time.monotonic() + LIMIT
    while not (tmp_path / "failures.csv").exists():
        assert time.monotonic() < deadline, "the first step has not ended"
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    printed = here(*command(tmp_path)[3:])
    assert "(done before)" in printed
    assert printed.count("these networks know nothing of real ones: the figures hold") == 2
    store = Store.open(tmp_path / "features.zarr")
    assert store.protocols() == ["val"]
    assert check.verify(store.place) == []
    scores = read_scores(tmp_path / "scores.parquet").to_pylist()
    assert len(scores) == 40
    assert sum(bool(row["error"]) for row in scores) == 1
    assert "these networks know nothing of real ones" in (tmp_path / "report.html").read_text()
    for name in (
        "fusion/bundle.json",
        "evaluation.json",
        "why.png",
        "tune/tune.json",
        "ablation/ablation.csv",
        "compare/comparison.json",
    ):
        assert (tmp_path / name).exists()
