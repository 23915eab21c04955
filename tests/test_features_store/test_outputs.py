"""What a command may replace, and who may write."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from features_store import claim
from features_store.claim import claimed
from features_store.errors import InUse, OutputExists, WriteFailed
from features_store.outputs import Folder, Product, check_place

HOLD = """
import sys, time
from pathlib import Path
from features_store.claim import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_file_that_the_command_did_not_make_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    out.write_text("mine")
    with pytest.raises(OutputExists, match=r"did not make it.*--overwrite"):
        Product(out, "evaluate")
    assert out.read_text() == "mine"
    Product(out, "evaluate", overwrite=True).write([b"made"], {"split": "test"})
    assert out.read_bytes() == b"made"


def test_its_own_file_is_replaced_when_made_from_the_same(tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    Product(out, "evaluate").write([b"1"], {"split": "test", "bundle": "a"})
    again = Product(out, "evaluate")
    assert again.check({"split": "test", "bundle": "a"})
    again.write([b"2"], {"split": "test", "bundle": "a"})
    with pytest.raises(OutputExists, match="with another bundle, split"):
        Product(out, "evaluate").check({"split": "val", "bundle": "b"})
    with pytest.raises(OutputExists, match="did not make it"):
        Product(out, "cross")
    assert not Product(out, "evaluate", overwrite=True).check({"split": "val"})
    assert out.read_bytes() == b"2"


def test_a_result_that_somebody_changed_is_theirs(tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    Product(out, "evaluate").write([b"made"], {})
    out.write_text("corrected by hand")
    with pytest.raises(OutputExists, match="it was changed since"):
        Product(out, "evaluate")


@pytest.mark.parametrize("after", ["record", "file"])
def test_killed_between_record_and_file_it_knows_both(
    tmp_path: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "numbers.json"
    Product(out, "evaluate").write([b"1"], {"split": "test"})
    with monkeypatch.context() as patch:
        if after == "record":
            patch.setattr("features_store.outputs.publish", _die)
        else:
            patch.setattr("features_store.commit.fsync_directory", _die_of(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            Product(out, "evaluate").write([b"22"], {"split": "test"})
    again = Product(out, "evaluate")
    assert again.check({"split": "test"}) is (out.read_bytes() == b"22")
    again.write([b"22"], {"split": "test"})
    assert out.read_bytes() == b"22"


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def _die_of(folder: Path) -> object:
    """Dies once a file of the name that counts was renamed into the folder."""

    def die(path: Path) -> None:
        if (folder / "numbers.json").read_bytes() == b"22":
            raise KeyboardInterrupt

    return die


def test_a_folder_of_something_else_is_not_filled(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "precious").write_text("mine")
    with pytest.raises(OutputExists, match=r"runs is there.*--overwrite"):
        Folder(tmp_path / "runs", "tune")
    folder = Folder(tmp_path / "runs", "tune", overwrite=True)
    assert not folder.begin({"head": "linear"}, outdated=["study.db"])
    assert (tmp_path / "runs" / "precious").read_text() == "mine"


def test_a_folder_goes_on_with_the_same_and_refuses_another(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "tune"
    assert not Folder(out, "tune").begin({"head": "linear"})
    (out / "study.db").write_text("trials")
    folder = Folder(out, "tune")
    assert not folder.begin({"head": "linear"}, outdated=["study.db"])
    assert (out / "study.db").exists()
    with pytest.raises(OutputExists, match="with another head"):
        Folder(out, "tune").begin({"head": "fusion"})
    folder.finish()
    assert Folder(out, "tune").begin({"head": "linear"})
    assert not Folder(out, "tune", overwrite=True).begin({"head": "fusion"}, ["study.db"])
    assert not (out / "study.db").exists()


def test_places_that_cannot_be_written_are_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, reason in (
        (Path("s3://bucket/x.csv"), "is a URL; results go to a disk"),
        (tmp_path, "is a folder; name a file in it"),
        (tmp_path / "file" / "x.csv", "nothing can be written into|Not a directory"),
    ):
        with pytest.raises(WriteFailed, match=reason):
            check_place(place)
    with pytest.raises(WriteFailed, match="is a file; name a folder"):
        check_place(tmp_path / "file", folder=True)
    check_place(tmp_path / "new" / "deeper" / "x.csv")


def test_a_folder_that_may_not_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WriteFailed, match="nothing can be written into"):
        check_place(tmp_path / "x.csv")


@contextmanager
def another(path: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_second_of_two_processes_is_told_and_a_kill_lets_go(tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    with another(out) as first:
        with (
            pytest.raises(InUse, match=f"another process writes this .process {first.pid} on"),
            claimed(out),
        ):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait()
        with claimed(out):
            pass
    assert not list(tmp_path.iterdir())


def test_without_flock_signs_of_life_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    monkeypatch.setattr(claim, "_SETTLES", 0.01)
    out = tmp_path / "s.csv"
    with claimed(out), pytest.raises(InUse), claimed(out):
        pass
    with claimed(out):
        pass
    _left(tmp_path, "elsewhere", age=1)
    with pytest.raises(InUse, match="on elsewhere"), claimed(out):
        pass
    _left(tmp_path, "elsewhere", age=2 * claim.GRACE)
    with claimed(out):
        pass
    _left(tmp_path, socket.gethostname(), age=1)  # its process is gone
    with claimed(out):
        pass


def test_a_holder_on_another_machine_is_heard_although_flock_ends_here(tmp_path: Path) -> None:
    _left(tmp_path, "elsewhere", age=1)
    with pytest.raises(InUse, match="on elsewhere"), claimed(tmp_path / "s.csv"):
        pass


def test_a_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "GRACE", 0.06)
    lock = tmp_path / ".s.csv.lock"
    with claimed(tmp_path / "s.csv"):
        before = lock.stat().st_mtime_ns
        deadline = time.monotonic() + 20
        while lock.stat().st_mtime_ns == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lock.stat().st_mtime_ns > before


def _left(folder: Path, host: str, *, age: float) -> None:
    lock = folder / ".s.csv.lock"
    lock.write_text(json.dumps({"pid": 2**22 + 5, "host": host}))
    os.utime(lock, (time.time() - age,) * 2)
