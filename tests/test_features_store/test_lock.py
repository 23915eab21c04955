"""Locks keep processes apart, also where a file system has none of its own."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from features_store import Store, StoreExists, WriteFailed, check, lock
from features_store.commit import write_file
from tests.test_features_store import samples

FORK = multiprocessing.get_context("fork")
NUMBERS = [errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK]


def refuse_flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def count_up(path: Path, times: int) -> None:
    """Read, wait, write one more: what two at a time would get wrong."""
    for _ in range(times):
        with lock.alone(path.with_name(".lock")):
            number = int(path.read_text())
            time.sleep(0.001)
            path.write_text(str(number + 1))


@pytest.mark.parametrize("number", [None, *NUMBERS])
def test_one_process_at_a_time(
    tmp_path: Path, number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if number is not None:
        refuse_flock(monkeypatch, number)
    path = tmp_path / "number"
    path.write_text("0")
    processes = [FORK.Process(target=count_up, args=(path, 10)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert path.read_text() == "30"
    assert not list(tmp_path.glob("*.held"))


def test_the_lock_is_a_file_open_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS locks nothing else."""
    real = fcntl.flock
    modes = []

    def flock(descriptor: int, operation: int) -> None:
        modes.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock.alone(tmp_path / ".lock"):
        pass
    assert set(modes) == {os.O_RDWR}


@pytest.mark.parametrize("number", [None, errno.ENOSYS])
def test_a_killed_holder_lets_go(
    tmp_path: Path, number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "GRACE", 0.5)
    if number is not None:
        refuse_flock(monkeypatch, number)
    path = tmp_path / ".lock"

    def hold() -> None:
        with lock.alone(path):
            (tmp_path / "held").touch()
            time.sleep(60)

    process = FORK.Process(target=hold)
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    with lock.alone(path):
        pass
    assert not list(tmp_path.glob("*.held*"))


def test_a_living_holder_is_waited_for_beyond_the_grace_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "GRACE", 0.5)
    refuse_flock(monkeypatch, errno.ENOSYS)
    path = tmp_path / ".lock"

    def hold() -> None:
        with lock.alone(path):
            (tmp_path / "held").touch()
            time.sleep(2)
            (tmp_path / "finished").touch()

    process = FORK.Process(target=hold)
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with lock.alone(path):
        assert (tmp_path / "finished").exists()
    process.join(30)


def test_a_holder_removes_its_own_claim_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_flock(monkeypatch, errno.ENOSYS)
    claim = tmp_path / ".lock.held"
    with lock.alone(tmp_path / ".lock"):
        claim.write_bytes(b"another's, who took this one for dead")
    assert claim.read_bytes() == b"another's, who took this one for dead"


def test_a_folder_that_cannot_be_locked_is_a_store_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteFailed, match="cannot be locked"), lock.alone(tmp_path / "file/.lock"):
        pass
    refuse_flock(monkeypatch, errno.EIO)
    with pytest.raises(WriteFailed, match="Input/output error"), lock.alone(tmp_path / ".lock"):
        pass


def test_without_hard_links_the_first_writer_still_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*names: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    path = tmp_path / "document"

    def write(text: bytes) -> None:
        if write_file(path, [text], replace=False):
            write_file(tmp_path / text.decode(), [b"won"])

    processes = [FORK.Process(target=write, args=(b"%d" % i,)) for i in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    winners = [file.name for file in tmp_path.glob("[0-9]")]
    assert winners == [path.read_text()]
    assert not list(tmp_path.glob("*.partial"))


def test_a_store_lives_on_a_file_system_without_links_and_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*names: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", link)
    refuse_flock(monkeypatch, errno.ENOSYS)
    store = samples.full_store(tmp_path / "s")
    assert len(Store.open(tmp_path / "s").table(["internvideo2/cls"])) == 9
    with pytest.raises(StoreExists):
        samples.new_store(tmp_path / "s", 0)
    assert check.verify(store.place) == []
