"""Runs that are killed, stopped and started twice: in the end the store is as one run leaves it."""

import random
import shutil
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from extract.manifest.manifest import Manifest, read_manifest
from features_store import Store, check
from tests.soak import rounds
from tests.test_extract.extractions import (
    assert_equal_stores,
    committed,
    extract,
    write_videos,
)

KILLS = 6
LIMIT = 60.0
CONTEXT = get_context("forkserver")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_videos(tmp_path_factory.mktemp("videos") / "data")


@pytest.fixture(scope="module")
def reference(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("reference") / "s"
    extract(manifest, store)
    return store


def _run_in_child(root: str, store: str) -> None:
    extract(read_manifest(root), Path(store))


def _shards(store: Path) -> int:
    """Of all groups: the files' and the facts' are committed at other moments."""
    return sum(1 for _ in store.glob("val/*/status/c.*"))


def test_killed_after_a_commit_and_resumed(
    reference: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """Every kill comes after the process has committed something, and before it is done."""
    rng = random.Random(7)
    CONTEXT.set_forkserver_preload([__name__, "extract.branches.internvideo2", "cv2", "av"])
    store, points = tmp_path / "s", []
    whole = _shards(reference)
    for _ in range(3 * KILLS):
        before = _shards(store)
        process = CONTEXT.Process(target=_run_in_child, args=(str(manifest.root), str(store)))
        process.start()
        wanted = before + rng.randint(1, 5)
        deadline = time.monotonic() + LIMIT
        while process.is_alive() and _shards(store) < min(wanted, whole):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        there = _shards(store)
        if process.exitcode != 0 and before < there < whole:
            points.append(there)
        if there == whole:
            shutil.rmtree(store)  # nothing is left to be killed in: begin anew
        if len(points) == KILLS:
            break
    sys.stdout.write(
        f"killed {len(points)} times, at {len(set(points))} points: {sorted(points)} of {whole}\n"
    )
    assert len(points) == KILLS
    assert len(set(points)) >= 3
    extract(manifest, store)
    assert_equal_stores(reference, store)
    assert check.verify(Store.open(store).place) == []


def test_ten_rounds_of_two_runs_at_once(tmp_path: Path) -> None:
    """What `make soak` does a thousand times."""
    found = rounds.soak(tmp_path, count=10, seed=11)
    sys.stdout.write(f"{found}\n")
    assert found.rounds == 10
    assert found.interrupted + found.killed >= 5
    assert found.differences == []
    assert committed(tmp_path / "reference")
