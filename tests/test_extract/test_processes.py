"""Processes of our own."""

import os
import subprocess
from pathlib import Path

import pytest

from extract import processes


def test_a_package_of_the_same_name_in_the_folder_that_we_are_in_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "extract"
    other.mkdir()
    (other / "__init__.py").touch()
    (other / "processes.py").write_text("raise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    process, connection = processes.start("extract.processes", subprocess.DEVNULL)
    assert process.wait(60) == 0
    connection.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_process_that_cannot_be_started_leaves_nothing_open() -> None:
    before = open_files()
    with pytest.raises(OSError, match="Bad file descriptor"):
        processes.start("extract.processes", 10**6)
    assert open_files() == before


def test_cores_are_counted_where_a_system_does_not_say_which_are_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "_SHARE", Path("/nowhere"))
    assert processes.cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processes.cores() == os.cpu_count()


@pytest.mark.parametrize(
    ("told", "cores"), [("max 100000\n", 64), ("150000 100000\n", 2), ("10000 100000\n", 1)]
)
def test_a_container_has_as_many_cores_as_its_share_of_time_is_worth(
    told: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(told)
    monkeypatch.setattr(processes, "_SHARE", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert processes.cores() == cores
