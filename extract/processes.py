"""Processes of our own, with a connection to each."""

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path


def start(module: str, stdin: int) -> "tuple[subprocess.Popen[bytes], Connection]":
    """`python -m MODULE SOCKET`. Ctrl-C reaches us alone: it is ours to pass on."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(theirs.fileno())],
        stdin=stdin,
        pass_fds=(theirs.fileno(),),
        env={**os.environ, "PYTHONPATH": python_path()},
        start_new_session=True,
    )
    theirs.close()
    return process, Connection(ours.detach())


def python_path() -> str:
    """The same packages as here."""
    ours = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join(part for part in (ours, os.environ.get("PYTHONPATH", "")) if part)
