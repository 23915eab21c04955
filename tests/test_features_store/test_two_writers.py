"""Two writers on the same shards, interleaved at every look and every write.

Each writer is a thread that stops before everything it asks of the place; a seed decides who goes
on. What comes out is compared with what either of them was told had been committed.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import obstore.store
import pytest
from zarr.storage import ObjectStore

from features_store import ArraySpec, BranchSpec, Damaged, Status, Store, check
from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.place import Buffers, LocalPlace, Place
from features_store.place.place import Value, Version
from features_store.place.remote import RemotePlace

SHARD_ROWS = 4
VIDEOS = 7
SPEC = BranchSpec(
    name="internvideo2",
    preset="tiny",
    fingerprint="3f9c1a2b",
    arrays={"cls": ArraySpec(shape=(3,)), "depth": ArraySpec(shape=(2,), dtype="float32")},
)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for whom is decided by turns."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


class Turns:
    """Lets one thread at a time go on, until the next thing that it asks of the place."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._changed = threading.Condition()
        self._waiting: dict[str, Callable[[], bool]] = {}
        self._going: str | None = None
        self._alive: set[str] = set()

    def pause(self, until: Callable[[], bool] = lambda: True) -> None:
        """Wait for one's turn, which comes only when `until` holds."""
        name = threading.current_thread().name
        if name not in self._alive:
            return
        with self._changed:
            self._waiting[name] = until
            self._going = None
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._going == name, timeout=60)

    def run(self, *work: Callable[[], None]) -> None:
        failures: list[BaseException] = []

        def start(job: Callable[[], None]) -> None:
            try:
                self.pause()
                job()
            except BaseException as error:
                failures.append(error)
            with self._changed:
                self._alive.discard(threading.current_thread().name)
                self._going = None
                self._changed.notify_all()

        threads = [
            threading.Thread(target=start, args=(job,), name=f"writer {i}", daemon=True)
            for i, job in enumerate(work)
        ]
        self._alive = {thread.name for thread in threads}
        for thread in threads:
            thread.start()
        while self._next():
            pass
        for thread in threads:
            thread.join(60)
        if failures:
            raise failures[0]

    def _next(self) -> bool:
        with self._changed:
            assert self._changed.wait_for(
                lambda: self._going is None and set(self._waiting) >= self._alive, timeout=60
            )
            ready = sorted(name for name in self._alive if self._waiting[name]())
            if not self._alive:
                return False
            assert ready, "every writer waits for another"
            self._going = self._random.choice(ready)
            del self._waiting[self._going]
            self._changed.notify_all()
            return True


class SharedFolder(LocalPlace):
    """A folder whose lock is a flag, so that the test knows who waits for it."""

    def __init__(self, root: Path, turns: Turns, held: set[str]) -> None:
        super().__init__(root)
        self.turns, self.held = turns, held

    def get(self, key: str) -> bytes | None:
        self.turns.pause()
        return super().get(key)

    def put(self, key: str, buffers: Buffers) -> None:
        self.turns.pause()
        super().put(key, buffers)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        self.turns.pause(lambda: key not in self.held)
        self.held.add(key)
        try:
            yield
        finally:
            self.held.discard(key)


class UnlockedFolder(SharedFolder):
    """What the store would be without its locks."""

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        yield


class SharedBucket(RemotePlace):
    """An object store."""

    patience = 0.0

    def __init__(self, store: ObjectStore[obstore.store.MemoryStore], turns: Turns) -> None:
        super().__init__(store, "bucket")
        self.turns = turns

    def get(self, key: str) -> bytes | None:
        self.turns.pause()
        return super().get(key)

    def read(self, key: str) -> Value:
        self.turns.pause()
        return super().read(key)

    def version(self, key: str) -> Version:
        self.turns.pause()
        return super().version(key)

    def put(self, key: str, buffers: Buffers) -> None:
        self.turns.pause()
        super().put(key, buffers)

    def swap(self, key: str, buffers: Buffers, seen: Version) -> Version:
        self.turns.pause()
        return super().swap(key, buffers, seen)


class UnconditionalBucket(SharedBucket):
    """What the store would be without conditional writes."""

    def swap(self, key: str, buffers: Buffers, seen: Version) -> Version:
        self.put(key, buffers)
        return super().read(key).version


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Rows that a writer commits: some OK, some failed; and rows that it had forgotten."""

    shard: int
    status: Array
    forget: tuple[int, ...] = ()


@dataclass(slots=True)
class World:
    """A store that several writers open, each as a process of its own would."""

    tmp_path: Path
    kind: type[SharedFolder] | type[SharedBucket]
    turns: Turns
    bucket: "ObjectStore[obstore.store.MemoryStore]" = field(
        default_factory=lambda: ObjectStore(obstore.store.MemoryStore())
    )
    held: set[str] = field(default_factory=set)

    def place(self) -> Place:
        if issubclass(self.kind, SharedFolder):
            return self.kind(self.tmp_path / "s", self.turns, self.held)
        return self.kind(self.bucket, self.turns)

    def branch(self) -> BranchArrays:
        return Store.open(self.place()).branch("val", SPEC, shard_rows=SHARD_ROWS)


def numbers(name: str, row: int) -> Array:
    seed = [row, sum(name.encode())]
    array = SPEC.arrays[name]
    return np.random.default_rng(seed).normal(size=array.shape).astype(array.dtype)


def write(branch: BranchArrays, commit: Commit) -> None:
    rows = branch.rows(commit.shard)
    arrays = {name: np.stack([numbers(name, row) for row in rows]) for name in SPEC.arrays}
    for name, array in arrays.items():
        array[commit.status != Status.OK] = 99  # what a row that was not done happens to hold
        assert array.dtype == SPEC.arrays[name].dtype
    failed = np.flatnonzero(commit.status == Status.FAILED).tolist()
    errors = {position: f"failed {rows[position]}" for position in failed}
    branch.write_shard(commit.shard, arrays, commit.status, errors)


def plans(seed: int) -> list[list[Commit]]:
    """For each of two writers some commits, whose rows overlap at random."""
    chooser = np.random.default_rng(seed)
    found: list[list[Commit]] = []
    for _ in range(2):
        commits = []
        for _ in range(chooser.integers(1, 4)):
            shard = int(chooser.integers(0, 2))
            count = min(SHARD_ROWS, VIDEOS - shard * SHARD_ROWS)
            status = chooser.choice(3, count, p=[0.4, 0.4, 0.2]).astype(np.uint8)
            commits.append(Commit(shard=shard, status=status))
        found.append(commits)
    return found


def expected(commits: Sequence[Commit]) -> Array:
    """OK where anyone said so, else failed where anyone did."""
    status = np.zeros(VIDEOS, np.uint8)
    for wanted in (Status.FAILED, Status.OK):
        for commit in commits:
            rows = commit.shard * SHARD_ROWS + np.flatnonzero(commit.status == wanted)
            status[rows] = wanted
    return status


def two_writers(tmp_path: Path, kind: type[SharedFolder] | type[SharedBucket], seed: int) -> None:
    world = World(tmp_path, kind, Turns(seed))
    Store.create(world.place(), scheme="hfv2", classes=("forgery", "real")).add_videos(
        {"id": [f"clip {row}" for row in range(VIDEOS)]}
    )
    world.branch()
    mine, others = plans(seed)

    def job(commits: list[Commit]) -> Callable[[], None]:
        def work() -> None:
            branch = world.branch()
            for commit in commits:
                write(branch, commit)

        return work

    world.turns.run(job(mine), job(others))
    assert check.verify(world.place()) == []
    branch = world.branch()
    assert branch.status().tolist() == expected([*mine, *others]).tolist()
    for shard in range(branch.shards):
        content = branch.read_shard(shard)
        for position, row in enumerate(branch.rows(shard)):
            if content.status[position] == Status.OK:
                for name in SPEC.arrays:
                    assert np.array_equal(content.parts[name][position], numbers(name, row))
    failed = np.flatnonzero(branch.status() == Status.FAILED).tolist()
    assert branch.errors() == {row: f"failed {row}" for row in failed}


@pytest.mark.parametrize("kind", [SharedFolder, SharedBucket])
@pytest.mark.parametrize("seed", range(25))
def test_no_row_is_lost_and_none_is_mixed(
    tmp_path: Path, kind: type[SharedFolder] | type[SharedBucket], seed: int
) -> None:  # fmt: skip
    two_writers(tmp_path, kind, seed)


@pytest.mark.parametrize("kind", [UnlockedFolder, UnconditionalBucket])
def test_this_test_finds_what_missing_locks_and_conditions_do(
    tmp_path: Path, kind: type[SharedFolder] | type[SharedBucket]
) -> None:
    wrong = 0
    for seed in range(25):
        try:
            two_writers(tmp_path / str(seed), kind, seed)
        except (AssertionError, Damaged):
            wrong += 1
    assert wrong >= 5


@pytest.mark.parametrize("kind", [SharedFolder, SharedBucket])
@pytest.mark.parametrize("seed", range(8))
def test_a_reader_beside_writers_sees_whole_rows(
    tmp_path: Path, kind: type[SharedFolder] | type[SharedBucket], seed: int
) -> None:  # fmt: skip
    world = World(tmp_path, kind, Turns(seed))
    Store.create(world.place(), scheme="hfv2", classes=("forgery", "real")).add_videos(
        {"id": [f"clip {row}" for row in range(SHARD_ROWS)]}
    )
    write(world.branch(), Commit(shard=0, status=np.array([1, 0, 2, 0], np.uint8)))

    def writer() -> None:
        branch = world.branch()
        write(branch, Commit(shard=0, status=np.array([0, 1, 0, 0], np.uint8)))
        write(branch, Commit(shard=0, status=np.array([0, 0, 1, 2], np.uint8)))

    def reader() -> None:
        store = Store.open(world.place())
        seen = 0
        for _ in range(6):
            table = store.table(["internvideo2/cls", "internvideo2/depth"], allow_missing=True)
            assert len(table) >= seen
            seen = len(table)
            for position, row in enumerate(table.rows.tolist()):
                for name in SPEC.arrays:
                    read = table.arrays[f"internvideo2/{name}"][position]
                    assert np.array_equal(read, numbers(name, row))
            assert set(world.branch().errors().values()) <= {"failed 2", "failed 3"}

    world.turns.run(writer, reader)


@pytest.mark.parametrize("kind", [SharedFolder, SharedBucket])
@pytest.mark.parametrize("seed", range(15))
def test_videos_added_by_two_at_once_are_all_there_once(
    tmp_path: Path, kind: type[SharedFolder] | type[SharedBucket], seed: int
) -> None:  # fmt: skip
    world = World(tmp_path, kind, Turns(seed))
    Store.create(world.place(), scheme="hfv2", classes=("forgery", "real"))

    def add(first: int) -> Callable[[], None]:
        def work() -> None:
            store = Store.open(world.place())
            for start in (first, first + 2):
                ids = [f"clip {row}" for row in range(start, start + 3)]
                rows = store.add_videos({"id": ids}, keep_existing=True)
                assert store.videos.column("id")[rows].tolist() == ids

        return work

    world.turns.run(add(0), add(3))
    assert check.verify(world.place()) == []
    found = Store.open(world.place()).videos.column("id").tolist()
    assert sorted(found) == [f"clip {row}" for row in range(8)]


@pytest.mark.parametrize("kind", [SharedFolder, SharedBucket])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_noted_about_videos_beside_those_that_are_added_stays(
    tmp_path: Path, kind: type[SharedFolder] | type[SharedBucket], seed: int
) -> None:
    world = World(tmp_path, kind, Turns(seed))
    store = Store.create(world.place(), scheme="hfv2", classes=("forgery", "real"))
    store.add_videos({"id": ["a", "b", "c"]})

    def note(row: int) -> Callable[[], None]:
        def work() -> None:
            videos = Store.open(world.place()).videos
            videos.note(np.array([row]), {"frames": np.array([row + 10])})
            videos.note(np.array([row]), {"digest": np.array([f"d{row}"])})

        return work

    def add() -> None:
        Store.open(world.place()).add_videos({"id": ["d"], "frames": [99]})

    world.turns.run(note(0), note(2), add)
    assert check.verify(world.place()) == []
    videos = Store.open(world.place()).videos
    assert videos.column("frames").tolist() == [10, -1, 12, 99]
    assert videos.column("digest").tolist() == ["d0", "", "d2", ""]
