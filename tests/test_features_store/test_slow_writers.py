"""On an object store a writer that takes its time is waited for, and one that died is not."""

import threading
import time
from collections.abc import Callable

import numpy as np
import obstore.store
import pytest
from zarr.storage import ObjectStore

from features_store import Store, check
from features_store.branch_arrays import BranchArrays
from features_store.place import Buffers
from features_store.place.place import Version
from features_store.place.remote import RemotePlace
from tests.test_features_store import samples

Memory = ObjectStore[obstore.store.MemoryStore]


class Bucket(RemotePlace):
    """Counts what is written, and can be slow at it."""

    patience = 0.5

    def __init__(self, store: Memory, seconds: float = 0.0, slow: str = "/cls/c.") -> None:
        super().__init__(store, "bucket")
        self.seconds, self.slow = seconds, slow
        self.written: list[str] = []
        self.under_way = threading.Event()

    def swap(self, key: str, buffers: Buffers, seen: Version) -> Version:
        if self.seconds and self.slow in key:
            self.under_way.set()
            time.sleep(self.seconds)
        self.written.append(key)
        return super().swap(key, buffers, seen)


@pytest.fixture
def memory() -> Memory:
    store: Memory = ObjectStore(obstore.store.MemoryStore())
    samples.new_store(Bucket(store), 4).branch(samples.PROTOCOL, samples.SPEC, shard_rows=4)
    return store


def branch_of(place: Bucket) -> BranchArrays:
    return Store.open(place).branch(samples.PROTOCOL, samples.SPEC)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_slow_writer_is_waited_for_however_long_it_takes(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = Bucket(memory, seconds=2.0), Bucket(memory)
    theirs, ours = branch_of(slow), branch_of(quick)
    _as_another_process(monkeypatch)
    thread = in_thread(lambda: samples.write(theirs, 0, only=[0, 1]))
    assert slow.under_way.wait(30)
    samples.write(ours, 0, only=[2, 3])
    thread.join(30)
    assert slow.written.count(theirs.stored("cls")["cls"].key(0)) == 1  # it never started over
    assert ours.status().tolist() == [1, 1, 1, 2]
    assert check.verify(quick) == []


def test_videos_are_added_behind_those_of_a_slow_writer(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = Bucket(memory, seconds=2.0, slow="videos/label/c."), Bucket(memory)
    theirs, ours = Store.open(slow), Store.open(quick)
    _as_another_process(monkeypatch)
    thread = in_thread(lambda: theirs.add_videos(samples.video_columns(4, 6)))
    assert slow.under_way.wait(30)
    ours.add_videos(samples.video_columns(6, 8))
    thread.join(30)
    assert slow.written.count("videos/label/c.0") == 1
    assert Store.open(quick).videos.column("label").tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert check.verify(quick) == []


def test_a_writer_that_died_in_the_middle_keeps_nobody_out(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(Exception):
        pass

    class Mortal(Bucket):
        def swap(self, key: str, buffers: Buffers, seen: Version) -> Version:
            if "/depth/c." in key:
                raise Died
            return super().swap(key, buffers, seen)

    first = branch_of(Bucket(memory))
    samples.write(first, 0, only=[0])
    with monkeypatch.context() as patch:
        patch.setattr("features_store.place.begun.this_writer", lambda: "host:1")
        with pytest.raises(Died):
            samples.write(branch_of(Mortal(memory)), 0, only=[1])
    branch = branch_of(Bucket(memory))
    assert branch.status().tolist() == [1, 0, 0, 0]
    assert np.array_equal(branch.read_shard(0).parts["cls"][0], samples.numbers("cls", 0))
    assert check.verify(branch.place) == []
    samples.write(branch, 0, only=[2])
    assert branch.status().tolist() == [1, 0, 1, 0]
    assert check.verify(branch.place) == []


def _as_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads of this process take each other for two processes."""
    monkeypatch.setattr(
        "features_store.place.begun.this_writer", lambda: f"host:{threading.get_ident()}"
    )
