"""Starts a module of tests as several processes that find each other, as torchrun would."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(module: str, *arguments: Path, count: int = 2) -> list[subprocess.Popen[bytes]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {
        **os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-W", "error", "-m", module, *map(str, arguments)]
    return [
        subprocess.Popen(command, env={**environment, "RANK": str(rank)}, cwd=ROOT)
        for rank in range(count)
    ]


def wait(ranks: list[subprocess.Popen[bytes]]) -> None:
    try:
        assert [rank.wait(timeout=120) for rank in ranks] == [0] * len(ranks)
    finally:
        for rank in ranks:
            rank.kill()  # nothing where it has ended
