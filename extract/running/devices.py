"""Several GPUs on one machine: a process for each, blocks of shards dealt between them.

The children are ordinary `telltale extract --part` runs. Killed, they leave what any run leaves;
the same command goes on. A child stops when this process is gone.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from extract.commands.data import SOME_FAILED
from extract.running.interrupt import INTERRUPTED, Interrupt
from extract.running.workload import Part

_POLL = 0.2
_TAIL = 4096


def run_on_devices(
    arguments: Sequence[str], devices: Sequence[str], part: Part, notice: str
) -> int:
    """`telltale extract` with these arguments, once per device; their exit status."""
    with tempfile.TemporaryDirectory() as folder, Interrupt(notice) as interrupt:
        logs = [Path(folder) / f"{number}.jsonl" for number in range(len(devices))]
        children = []
        for number, (device, log) in enumerate(zip(devices, logs, strict=True)):
            # Blocks b with b % parts == part, and among them every len(devices)-th.
            own = f"{part.number + part.count * number}/{part.count * len(devices)}"
            command = [sys.executable, "-m", "heads", "extract", *arguments]
            command += ["--device", device, "--part", own, "--child-log", str(log)]
            children.append(subprocess.Popen(command, start_new_session=True))
        try:
            return _wait(children, logs, interrupt)
        finally:
            for child in children:
                child.kill()
                child.wait()


def _wait(
    children: Sequence["subprocess.Popen[bytes]"], logs: Sequence[Path], interrupt: Interrupt
) -> int:
    told = False
    with tqdm(unit="video", disable=None) as bar:
        while any(child.poll() is None for child in children):
            time.sleep(_POLL)
            bar.total, bar.n = _progress(logs)
            bar.refresh()
            if interrupt.asked and not told:
                told = True
                for child in children:
                    child.terminate()
    if interrupt.asked:
        return INTERRUPTED
    found = {child.wait() for child in children}
    return 0 if found == {0} else SOME_FAILED if found <= {0, SOME_FAILED} else 1


def _progress(logs: Sequence[Path]) -> tuple[int, int]:
    """Videos to do and done, by what each child logged first and last."""
    total = done = 0
    for log in logs:
        if log.exists():
            with log.open("rb") as file:
                total += _field(file.readline(), "videos")
                file.seek(max(0, log.stat().st_size - _TAIL))
                counts = [line for line in file.readlines() if b'"ok"' in line]
            done += _field(counts[-1], "ok") + _field(counts[-1], "failed") if counts else 0
    return total, done


def _field(line: bytes, name: str) -> int:
    try:
        return int(json.loads(line).get(name, 0))
    except ValueError:  # it is being written
        return 0
