"""What memory is free, by the machine and by a control group's limit, whichever is less."""

from pathlib import Path

import pytest

from extract.memory import available_memory

GIB = 2**30


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:  8388608 kB\nBuffers: 1 kB\n")
    return tmp_path


def test_without_a_limit_it_is_the_machines(proc: Path, tmp_path: Path) -> None:
    assert available_memory(proc, tmp_path / "none") == 8 * GIB
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    assert available_memory(proc, tmp_path) == 8 * GIB


@pytest.mark.parametrize(
    ("limit", "used"),
    [("memory.max", "memory.current"),
     ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
)  # fmt: skip
def test_a_groups_limit_counts_less_what_it_only_keeps_of_files(
    proc: Path, tmp_path: Path, limit: str, used: str
) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / limit).write_text(f"{4 * GIB}\n")
    (tmp_path / used).write_text(f"{3 * GIB}\n")
    assert available_memory(proc, tmp_path) == GIB
    (tmp_path / limit).with_name("memory.stat").write_text(f"anon 5\ninactive_file {2 * GIB}\n")
    assert available_memory(proc, tmp_path) == 3 * GIB


def test_here_it_is_something() -> None:
    assert available_memory() > 0
