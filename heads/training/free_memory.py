"""How much memory a device has left for this process.

On CUDA what the driver says, and what torch has taken from it and does not use. On a CPU what the
machine says is available and what the control groups of this process leave of their limits, an
equal part for each process that torchrun started here. Where no system says so: unknown.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

_MEMORY = Path("/proc/meminfo")
_GROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
_FIRST = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_SECOND = ("memory.max", "memory.current", "inactive_file")
"""Of both versions of control groups: files of the limit and of what is used, and the name that
`memory.stat` has for cached files, which are given back when others need the room."""


def free_bytes(device: str) -> int | None:
    """None: unknown."""
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + unused
    left = [*_of_machine(_MEMORY), *of_groups(_GROUPS, _ROOT)]
    return min(left) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if left else None


def of_groups(listed: Path, root: Path) -> Iterator[int]:
    """What each control group above a process leaves of its limit."""
    for line in listed.read_text().splitlines() if listed.exists() else ():
        number, kinds, where = line.split(":", 2)
        if number != "0" and "memory" not in kinds.split(","):
            continue
        top, names = (root, _SECOND) if number == "0" else (root / "memory", _FIRST)
        group = top / where.lstrip("/")
        # Where a container sees less of the tree than the list names, its own group is the top.
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # what cannot be read limits nothing that we know
                yield from _left(folder, names)


def _left(group: Path, names: tuple[str, str, str]) -> Iterator[int]:
    limit, used, cached = names
    most = (group / limit).read_text().strip()
    if most == "max":
        return
    counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    taken = int((group / used).read_text()) - int(counts.get(cached, 0))
    yield max(0, int(most) - taken)


def _of_machine(listed: Path) -> Iterator[int]:
    for line in listed.read_text().splitlines() if listed.exists() else ():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            yield int(amount.split()[0]) * 1024
