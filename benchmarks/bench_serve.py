"""From an upload to its verdict: `telltale serve` with a decode worker that waits for the file,
against one that is started at every step.

    python -m benchmarks.bench_serve [--uploads 12]

Two services of the shipped bundle run at once, warm, and take small made-up videos in turns, over
HTTP; whoever sends one asks every 10 ms whether it is judged. With a pause before each upload the
worker has time to start; without one, uploads of a service follow each other at once.
"""

import argparse
import contextlib
import json
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from scipy.stats import binom

from benchmarks import measure
from extract.decoding.spare import Spare
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from heads.commands import serve
from heads.commands.main import main as telltale
from heads.serving.messages import Judge

WAITS, BASELINE = "one that waits", "one a step"
WAYS = (BASELINE, WAITS)
CUTS = ("whole", "windows=1s")
PAUSE = 1.5
"""Seconds."""
FEWEST = 6
"""With fewer uploads no interval holds the median in 95% of cases."""
_ASKED_EVERY = 0.01


class NoSpare(Spare):
    """Every pool starts its own worker."""

    def start(self) -> None:
        """Nobody waits."""

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        yield


def judge_without(arguments: argparse.Namespace, work: Path) -> Judge:
    judge = serve.judge_of(arguments, work)
    judge.close()
    judge._spare = NoSpare()  # type: ignore[attr-defined]
    return judge


class Client:
    """A service in a process of its own, and whoever sends it videos."""

    def __init__(self, way: str, folder: Path, video: bytes) -> None:
        self._numbers, self._video = count(), video
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bench_serve", "--way", way, "--folder", str(folder)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._url = re.findall(r"http://\S+/", self._process.stdout.readline())[0]

    def judge(self, segments: str) -> float:
        """A video that it has not seen; seconds until its verdict is known."""
        parts = {
            'name="segments"': segments.encode(),
            'name="file"; filename="clip.mp4"': self._video
            + struct.pack(">I4sI", 12, b"free", next(self._numbers)),
        }
        body = b"".join(
            f"--b\r\nContent-Disposition: form-data; {name}\r\n\r\n".encode() + part + b"\r\n"
            for name, part in parts.items()
        )
        start = time.perf_counter()
        job = self._ask(f"{self._url}jobs", body + b"--b--\r\n")
        while job["state"] not in ("done", "failed"):
            time.sleep(_ASKED_EVERY)
            job = self._ask(f"{self._url}jobs/{job['id']}")
        seconds = time.perf_counter() - start
        if job["state"] != "done":
            raise RuntimeError(f"the service says {job['reason']}")
        return seconds

    def _ask(self, url: str, body: bytes | None = None) -> dict[str, str]:
        kind = {"Content-Type": "multipart/form-data; boundary=b"} if body else {}
        with urllib.request.urlopen(urllib.request.Request(url, body, kind)) as answer:
            found: dict[str, str] = json.load(answer)
            return found

    def close(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--uploads", type=int, default=12)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.uploads < FEWEST:
        parser.error(f"--uploads {arguments.uploads}: give {FEWEST} or more")
    if arguments.way:
        sys.exit(served(arguments.way, arguments.folder))
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), arguments.uploads)
    measure.report("serve", rows, ("torch", "av", "numpy"))


def served(way: str, folder: str) -> int:
    """The service itself, until it is interrupted."""
    if way == BASELINE:
        serve.judge_of = judge_without
    options = ["--folder", folder, "--port", "0", "--device", "cpu", "--workers", "1"]
    return telltale(["serve", *options])


def measured(folder: Path, uploads: int) -> list[measure.Row]:
    (clip,) = write_data_set(folder / "clip", SyntheticOptions(videos=1))
    with ExitStack() as stack:
        clients = {}
        for way in WAYS:
            clients[way] = Client(way, folder / way.replace(" ", "-"), clip.read_bytes())
            stack.callback(clients[way].close)
        for client in clients.values():
            client.judge(CUTS[0])
        rows = []
        for cut in CUTS:
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(uploads):
                for way, client in clients.items():
                    time.sleep(PAUSE)
                    times[way].append(client.judge(cut))
            rows += rows_of(f"{cut}, after a pause", times)
        at_once = {
            way: [client.judge(CUTS[0]) for _ in range(uploads)] for way, client in clients.items()
        }
        return rows + rows_of(f"{CUTS[0]}, one after the other", at_once)


def rows_of(what: str, times: dict[str, list[float]]) -> list[measure.Row]:
    baseline = statistics.median(times[BASELINE])
    rows = []
    for way, found in times.items():
        low, high = of_the_median(found)
        row: measure.Row = {
            "what": f"{what}, {way}", "s (median)": statistics.median(found), "s from": low,
            "s to (95% interval)": high, "uploads": len(found),
        }  # fmt: skip
        if way != BASELINE:
            row[f"speed against {BASELINE}"] = baseline / statistics.median(found)
        rows.append(row)
    return rows


def of_the_median(found: Sequence[float]) -> tuple[float, float]:
    """Its interval, by order statistics."""
    rank = int(binom.ppf(0.025, len(found), 0.5))
    ordered = sorted(found)
    return ordered[rank - 1], ordered[-rank]


if __name__ == "__main__":
    from benchmarks import bench_serve  # the process that judges finds `judge_without` by this name

    bench_serve.main()
