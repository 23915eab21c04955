"""How much main memory is free: on the machine, and in the control group that a container is."""

from pathlib import Path

_GROUPS = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
"""A group's limit and what it takes, in both versions."""
_GIVEN_UP = "inactive_file"
"""Copies of files, which a group gives up first."""


def available_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that can be taken without swapping."""
    found = _named(proc / "meminfo", "MemAvailable:") * 1024
    for folder in (groups, groups / "memory"):
        for names in _GROUPS:
            limit, used = (_number(folder / name) for name in names)
            if limit is not None and used is not None:
                found = min(found, limit - used + _named(folder / "memory.stat", _GIVEN_UP))
    return max(0, found)


def _named(path: Path, name: str) -> int:
    """The number behind a name, as both files have it; 0 where it is not said."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return 0
    return next((int(words[1]) for words in lines if words[0] == name), 0)


def _number(path: Path) -> int | None:
    """None: there is no limit, or no such file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
