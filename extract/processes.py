"""Processes of our own, with a connection to each."""

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

_SHARE = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds, or max, and of how many. A container sees its own."""


def start(
    module: str, stdin: int, *, said: IO[bytes] | None = None, single: bool = False
) -> "tuple[subprocess.Popen[bytes], Connection]":
    """`python -m MODULE SOCKET`. Ctrl-C reaches us alone: it is ours to pass on. What lies in the
    folder that we are in is not run in a package's place (`-P`). `said`: where its errors go, and
    nothing is printed then. `single`: libraries take one thread."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            stdin=stdin,
            stdout=None if said is None else subprocess.DEVNULL,
            stderr=said,
            pass_fds=(theirs.fileno(),),
            env=environment(single=single),
            start_new_session=True,
        )
        return process, Connection(ours.detach())


def cores() -> int:
    """That this process may use, where the system says so (macOS does not); else all. Of a
    container that is given a share of time, as many as that is worth."""
    found = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        found = len(os.sched_getaffinity(0))
    if _SHARE.exists():
        time, period = _SHARE.read_text().split()
        found = found if time == "max" else min(found, -(-int(time) // int(period)))
    return found


def default_workers(devices: int = 1) -> int:
    """A decode worker per core that we may use, at most 16 for each device."""
    return max(1, min(16 * devices, cores()))


def environment(*, single: bool = False) -> dict[str, str]:
    """The same packages as here."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1") if single else {}
    return {**os.environ, **threads, "PYTHONPATH": python_path()}


def python_path() -> str:
    """The same packages as here."""
    ours = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join(part for part in (ours, os.environ.get("PYTHONPATH", "")) if part)
