"""Stores come into being once, whoever else is at it, and only where there is room for one."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from features_store import NotAStore, Store, StoreExists, sweep
from features_store.errors import Damaged
from features_store.place import LocalPlace
from features_store.place.place import PROBE
from tests.test_features_store import samples

FORK = multiprocessing.get_context("fork")


def open_or_create(path: Path) -> Store:
    """As `extract` does it."""
    try:
        return Store.open(path)
    except NotAStore:
        try:
            return samples.new_store(path, 0)
        except StoreExists:
            return Store.open(path)


def test_many_processes_make_one_store(tmp_path: Path) -> None:
    """Each of the processes makes all the stores, in step with the others."""
    rounds, count = 25, 8
    barrier = FORK.Barrier(count)

    def make() -> None:
        for i in range(rounds):
            barrier.wait(120)
            store = open_or_create(tmp_path / str(i))
            store.add_videos(samples.video_columns(0, 3), keep_existing=True)

    processes = [FORK.Process(target=make) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    for i in range(rounds):
        assert Store.open(tmp_path / str(i)).videos.column("label").tolist() == [0, 1, 2]


def test_processes_with_other_classes_get_one_store_or_a_reason(tmp_path: Path) -> None:
    for i in range(20):
        path = tmp_path / str(i)
        made: list[Store] = []
        refused: list[StoreExists] = []
        barrier = threading.Barrier(2)

        def make(
            classes: tuple[str, ...],
            path: Path = path,
            made: list[Store] = made,
            refused: list[StoreExists] = refused,
            barrier: threading.Barrier = barrier,
        ) -> None:
            barrier.wait(60)
            try:
                made.append(Store.create(path, scheme="s", classes=classes))
            except StoreExists as error:
                refused.append(error)

        threads = [threading.Thread(target=make, args=(c,)) for c in (("a", "b"), ("c",))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(made) == len(refused) == 1
        assert Store.open(path).classes == made[0].classes


@pytest.mark.parametrize("stage", range(1, 15))
def test_what_a_killed_create_left_is_in_nobodys_way(tmp_path: Path, stage: int) -> None:
    path = tmp_path / "s"

    class Mortal(LocalPlace):
        left = stage

        def put_new(self, key: str, buffers: object) -> None:
            Mortal.left -= 1
            if Mortal.left <= 0:
                (self.root / key).parent.mkdir(parents=True, exist_ok=True)
                (self.root / key).with_name(f".{Path(key).name}.1.ab.partial").write_bytes(b"{")
                os._exit(9)
            super().put_new(key, buffers)  # type: ignore[arg-type]

    process = FORK.Process(target=samples.new_store, args=(Mortal(path), 0))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert samples.new_store(path, 2).videos.count == 2


@pytest.mark.parametrize(
    "file", ["videos/a.mp4", "videos/id/clip.mp4", "notes.txt", "videos/path/c.0", "val/x.mp4"]
)
def test_a_folder_with_something_of_the_users_is_refused(tmp_path: Path, file: str) -> None:
    path = tmp_path / "s" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreExists, match="not empty"):
        samples.new_store(tmp_path / "s", 0)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_process_tries_a_server_with_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f"{PROBE}00ff").write_bytes(b"1")
    assert samples.new_store(tmp_path, 1).protocols() == []
    assert sweep.leftovers(LocalPlace(tmp_path), older_than=0) == [f"{PROBE}00ff"]


def test_a_store_whose_making_was_killed_says_what_it_is(tmp_path: Path) -> None:
    """SIGKILL at moments of its own choosing, seen from outside."""
    path = tmp_path / "s"
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02):
        process = FORK.Process(target=samples.new_store, args=(path, 1))
        process.start()
        time.sleep(delay)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
    try:
        store = open_or_create(path)
    except Damaged as damage:  # pragma: no cover (the message is what one wants to see)
        pytest.fail(str(damage))
    store.add_videos(samples.video_columns(0, 1), keep_existing=True)
    assert Store.open(path).videos.count == 1
