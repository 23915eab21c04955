"""Writers die at any moment, of anything; nothing is lost and nothing half-written is read."""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np
import pytest

from features_store import ArraySpec, BranchSpec, Status, Store, WriteFailed, check
from features_store.branch_arrays import BranchArrays
from features_store.commit import TEMPORARY_SUFFIX
from features_store.place import LocalPlace
from features_store.sweep import leftovers
from tests.test_features_store import samples

FORK = multiprocessing.get_context("fork")
VIDEOS = 120
STEP = 30
SHARD_ROWS = 4
SPEC = BranchSpec(
    name="internvideo2",
    preset="tiny",
    fingerprint="3f9c1a2b",
    arrays={
        "cls": ArraySpec(shape=(1, 64)),
        "tokens": ArraySpec(shape=(1, 64, 256), quantise="int8"),
    },
)


def write_all(path: Path, mine: Callable[[int], bool] = lambda shard: True) -> None:
    """What a writer does: open or create, add videos step by step, write what is missing."""
    try:
        store = Store.open(path)
    except Exception:
        store = Store.create(path, scheme="hfv4", classes=samples.CLASSES)
    for stop in range(STEP, VIDEOS + 1, STEP):
        if stop > store.videos.count:
            store.add_videos(samples.video_columns(0, stop), keep_existing=True)
        branch = store.branch(samples.PROTOCOL, SPEC, shard_rows=SHARD_ROWS)
        for shard in filter(mine, branch.missing_shards()):
            write(branch, shard)


def write(branch: BranchArrays, shard: int) -> None:
    """Write the rows of a shard that are missing, as a pipeline would."""
    status = branch.read_status(shard)
    rows = branch.rows(shard)
    arrays = {
        name: np.stack([samples.numbers(name, row, SPEC) for row in rows]) for name in SPEC.arrays
    }
    new = [0 if status[i] else 2 if samples.failed(row) else 1 for i, row in enumerate(rows)]
    errors = {i: f"clip {rows[i]} has no frames" for i, state in enumerate(new) if state == 2}
    branch.write_shard(shard, arrays, np.array(new, np.uint8), errors)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kill") / "s"
    write_all(path)
    return path


def tree(path: Path) -> dict[str, bytes]:
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and not file.name.endswith(TEMPORARY_SUFFIX)
    }


def assert_all_that_reads_is_right(path: Path) -> None:
    """What a reader finds between two kills."""
    try:
        store = Store.open(path)
        branch = store.open_branch(samples.PROTOCOL, "internvideo2")
    except Exception:
        return  # killed before there was anything
    for shard in range(branch.shards):
        content = branch.read_shard(shard)
        for i, row in enumerate(branch.rows(shard)):
            if content.status[i] == Status.OK:
                expected = samples.numbers("cls", row, SPEC)
                assert content.parts["cls"][i].tobytes() == expected.tobytes()
            assert (content.status[i] == Status.FAILED) <= samples.failed(row)


def committed(path: Path) -> dict[str, bytes]:
    """The commit records that are there."""
    files = path.glob(f"{samples.PROTOCOL}/*/status/c.*")
    return {file.name: file.read_bytes() for file in files}


def start(path: Path, mine: Callable[[int], bool] = lambda shard: True) -> ForkProcess:
    process = FORK.Process(target=write_all, args=(path, mine))
    process.start()
    return process


def killed_after_a_commit(
    process: ForkProcess, path: Path, chooser: random.Random, how: signal.Signals
) -> bool:
    """Kill a writer some time after it has committed something; False where it was faster."""
    before = committed(path)
    while process.is_alive() and committed(path) == before:
        time.sleep(0.0005)
    process.join(chooser.uniform(0, 0.03))
    if process.exitcode is None:
        assert process.pid is not None
        os.kill(process.pid, how)
        process.join(30)
    assert process.exitcode in (-how, 0)
    return process.exitcode != 0


@pytest.mark.parametrize(("how", "kills"), [(signal.SIGKILL, 40), (signal.SIGTERM, 10)])
def test_a_writer_killed_between_its_commits(
    tmp_path: Path, uninterrupted: Path, how: signal.Signals, kills: int
) -> None:
    chooser = random.Random(how)
    path = tmp_path / "s"
    points: set[int] = set()
    count = 0
    while count < kills:
        if killed_after_a_commit(start(path), path, chooser, how):
            count += 1
            points.add(len(committed(path)))
            assert_all_that_reads_is_right(path)
        else:  # it finished: the store must be right, and the next kill needs a new one
            assert tree(path) == tree(uninterrupted)
            shutil.rmtree(path)
    assert 0 not in points
    assert len(points) >= kills / 5, f"killed at the same few points: {points}"
    write_all(path)
    assert tree(path) == tree(uninterrupted)
    assert check.verify(LocalPlace(path)) == []
    store = Store.open(path)
    for key in leftovers(store.place, older_than=0):
        store.place.delete(key)
    assert not list(path.rglob(f"*{TEMPORARY_SUFFIX}"))


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.01, 0.02])
def test_a_writer_killed_before_its_first_commit(
    tmp_path: Path, uninterrupted: Path, delay: float
) -> None:
    path = tmp_path / "s"
    for _ in range(3):
        process = start(path)
        process.join(delay)
        process.kill()
        process.join(30)
        assert_all_that_reads_is_right(path)
    write_all(path)
    assert tree(path) == tree(uninterrupted)


def test_writers_on_the_same_shards_some_of_them_killed_again_and_again(
    tmp_path: Path, uninterrupted: Path
) -> None:
    path = tmp_path / "s"
    store = samples.new_store(path, 0)
    store.branch(samples.PROTOCOL, SPEC, shard_rows=SHARD_ROWS)
    steady = start(path)
    chooser = random.Random(0)
    kills = 0
    for _ in range(10):
        kills += killed_after_a_commit(start(path), path, chooser, signal.SIGKILL)
        assert_all_that_reads_is_right(path)
    assert kills
    steady.join(60)
    assert steady.exitcode == 0
    write_all(path)
    assert tree(path) == tree(uninterrupted)
    assert check.verify(LocalPlace(path)) == []


def write_some(path: Path, seed: int) -> None:
    """A run that is stopped early, again and again: it commits rows of shards, not whole ones."""
    chooser = random.Random(seed)
    branch = Store.open(path).branch(samples.PROTOCOL, SPEC, shard_rows=SHARD_ROWS)
    for shard in chooser.choices(range(branch.shards), k=2 * branch.shards):
        rows = branch.rows(shard)
        samples.write(branch, shard, only=chooser.sample(rows, chooser.randint(1, len(rows))))


def test_writers_of_parts_of_the_same_shards(tmp_path: Path, uninterrupted: Path) -> None:
    """What two overlapping runs do: rows computed twice, none lost, none mixed."""
    path = tmp_path / "s"
    samples.new_store(path, VIDEOS).branch(samples.PROTOCOL, SPEC, shard_rows=SHARD_ROWS)
    processes = [FORK.Process(target=write_some, args=(path, seed)) for seed in range(4)]
    for process in processes:
        process.start()
    chooser = random.Random(0)
    known = 0
    while any(process.is_alive() for process in processes):
        assert_all_that_reads_is_right(path)
        status = Store.open(path).open_branch(samples.PROTOCOL, "internvideo2").status()
        assert (status == Status.OK).sum() >= known  # a failed one may be in the works again
        known = int((status == Status.OK).sum())
        time.sleep(chooser.uniform(0, 0.02))
    for process in processes:
        assert process.exitcode == 0
    assert check.verify(LocalPlace(path)) == []
    write_all(path)
    assert tree(path) == tree(uninterrupted)


def test_several_processes_add_videos_at_once(tmp_path: Path) -> None:
    path = tmp_path / "s"
    samples.new_store(path, 0)

    def add(part: int) -> None:
        for start in range(0, 30, 5):
            mine = samples.video_columns(start, start + 5)
            mine["id"] = [f"{part}/{video}" for video in mine["id"]]
            Store.open(path).add_videos(mine)
            Store.open(path).add_videos(samples.video_columns(0, 40), keep_existing=True)

    processes = [FORK.Process(target=add, args=(part,)) for part in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    ids = Store.open(path).videos.column("id").tolist()
    assert len(ids) == len(set(ids)) == 40 + 3 * 30


def test_a_file_size_limit_is_a_clear_error_and_loses_nothing(
    tmp_path: Path, uninterrupted: Path
) -> None:
    path = tmp_path / "s"
    samples.new_store(path, VIDEOS)
    receiver, sender = FORK.Pipe(duplex=False)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            write_all(path)
        except WriteFailed as error:
            sender.send(str(error))

    process = FORK.Process(target=limited)
    process.start()
    process.join(60)
    assert receiver.poll()
    assert "run the same command again" in receiver.recv()
    assert not list(path.rglob(f"*{TEMPORARY_SUFFIX}"))
    assert check.verify(LocalPlace(path)) == []
    write_all(path)
    assert tree(path) == tree(uninterrupted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(mount)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a small disk here")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_is_a_clear_error_and_loses_nothing(
    small_disk: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    path = small_disk / "s"
    with pytest.raises(WriteFailed, match=r"No space left.*Nothing committed is lost"):
        write_all(path)
    assert_all_that_reads_is_right(path)
    assert check.verify(LocalPlace(path)) == []
    assert not list(path.rglob(f"*{TEMPORARY_SUFFIX}"))
    moved = Path(shutil.copytree(path, tmp_path / "s"))
    write_all(moved)
    assert tree(moved) == tree(uninterrupted)
