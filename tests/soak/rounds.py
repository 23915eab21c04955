"""Rounds of two `telltale extract` on one store at once, one of which is interrupted or killed.

After each round the same command runs once more by itself; then every row must be what one run
alone wrote, and `verify` must find nothing. Videos are decoded in the process itself, not in
workers, which makes a round take a second instead of ten; everything else is the real command.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest import mock

import numpy as np

from extract.decoding import worker
from extract.decoding.files import Files
from extract.decoding.job import Job, Outcome, Plan
from extract.decoding.reply import outcome_of
from features_store import Store, check
from features_store.branch_arrays import BranchArrays
from heads.commands.main import main
from tests.test_extract.clips import write_clip

VIDEOS = 10
DAMAGED = 4
SHARD_ROWS = 3
LIMIT = 120.0
"""Seconds that a run may take before it counts as hanging."""
SAY_EVERY = 50
"""Rounds."""
CONTEXT = get_context("forkserver")


class OwnProcess:
    """`DecodePool` without processes."""

    def __init__(self, plan: Plan, *, workers: int = 1) -> None:
        self._plan = plan
        self._files = Files(plan)
        self._makers = worker.load_makers(plan)

    def __enter__(self) -> "OwnProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        slot = memoryview(bytearray(self._plan.slot_bytes))
        for job in jobs:
            reply = worker.work(self._files, self._makers, job, slot)
            yield outcome_of(job, reply, slot, self._plan)


@dataclass(slots=True, kw_only=True)
class Findings:
    """What the rounds came to."""

    rounds: int = 0
    interrupted: int = 0
    killed: int = 0
    points: set[int] = field(default_factory=set)
    """Numbers of shards that were committed when a run was ended."""
    rows: int = 0
    """Compared, in all rounds and groups."""
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {self.interrupted} interrupted, {self.killed} killed, at "
            f"{len(self.points)} points; {self.rows} rows compared, "
            f"{len(self.differences)} differences"
        )


def soak(folder: Path, *, count: int, seed: int, seconds: float = float("inf")) -> Findings:
    """So many rounds, or as many as fit in the time."""
    rng = random.Random(seed)
    data = _write_data(folder / "data")
    few = folder / "few.txt"
    few.write_text("".join(f"{path}\n" for path in sorted(data.iterdir())[: VIDEOS // 2 + 1]))
    reference = folder / "reference"
    _extract(_command(data, reference), folder / "said")
    CONTEXT.set_forkserver_preload([__name__, "extract.branches.internvideo2"])
    found = Findings()
    end = time.monotonic() + seconds
    while found.rounds < count and time.monotonic() < end:
        _round(folder, rng, found)
        if found.rounds % SAY_EVERY == 0:
            sys.stdout.write(f"{found}\n")
            sys.stdout.flush()
    return found


def _round(folder: Path, rng: random.Random, found: Findings) -> None:
    store = folder / "s"
    shutil.rmtree(store, ignore_errors=True)
    whole = _command(folder / "data", store)
    small = [*_command(folder / "few.txt", store), "--root", str(folder / "data")]
    other = rng.choice(
        [whole, [*whole, "--retry-failed"], [*small, "--retry-failed"], [*whole, "--part", "2/2"]]
    )
    begun = [_start(command, folder / f"said{n}") for n, command in enumerate((whole, other))]
    victim = rng.choice(begun)
    if rng.random() < 0.9:
        _end(victim, store, rng, found)
    for process in begun:
        process.join(LIMIT)
        if process.exitcode is None:
            found.differences.append(f"round {found.rounds}: a run hangs")
            process.kill()
            process.join()
        elif process.exitcode not in (0, 3, 130, -signal.SIGKILL):
            found.differences.append(f"round {found.rounds}: exit status {process.exitcode}")
    if rng.random() < 0.3:  # the end is reached by another way
        _extract([*whole, "--retry-failed"], folder / "said")
    _extract(whole, folder / "said")
    for difference in _compare(folder / "reference", store, found):
        found.differences.append(f"round {found.rounds}: {difference}")
    found.rounds += 1


def _end(victim: ForkServerProcess, store: Path, rng: random.Random, found: Findings) -> None:
    """Once so many shards are committed, whoever did it."""
    wanted, deadline = rng.randint(1, 11), time.monotonic() + LIMIT
    while victim.is_alive() and _shards(store) < wanted and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.03))
    if not victim.is_alive() or victim.pid is None:
        return
    found.points.add(_shards(store))
    if rng.random() < 0.5:
        os.kill(victim.pid, signal.SIGINT)
        found.interrupted += 1
    else:
        victim.kill()
        found.killed += 1


def _compare(reference: Path, store: Path, found: Findings) -> Iterator[str]:
    """Rows by their videos, since a store that grew may have them in another order."""
    one, two = Store.open(reference), Store.open(store)
    yield from (str(damage) for damage in check.verify(two.place))
    rows, others = one.videos.rows_by_id(), two.videos.rows_by_id()
    if rows.keys() != others.keys():
        yield f"videos {sorted(rows.keys() ^ others.keys())}"
        return
    order = np.array([others[name] for name in rows])
    for group in one.branches("val"):
        left, right = one.open_branch("val", group), two.open_branch("val", group)
        status = right.status()[order]
        if not np.array_equal(left.status(), status):
            yield f"{group}: status {status.tolist()}, not {left.status().tolist()}"
            continue
        ok = np.flatnonzero(status == 1)
        for name in left.spec.arrays:
            a, b = _numbers(left, name), _numbers(right, name)[order]
            wrong = [int(row) for row in ok if a[row].tobytes() != b[row].tobytes()]
            if wrong:
                yield f"{group}/{name}: rows {wrong}"
        found.rows += len(ok)
        if list(left.errors().values()) != list(right.errors().values()):
            yield f"{group}: other reasons of failure"


def _numbers(branch: BranchArrays, name: str) -> np.ndarray:
    parts = []
    for shard in range(branch.shards):
        content = branch.read_shard(shard)
        empty = np.zeros((len(content.status), *branch.spec.arrays[name].shape))
        parts.append(content.parts.get(name, empty))
    return np.concatenate(parts)


def _shards(store: Path) -> int:
    return sum(1 for _ in store.glob("val/*/status/c.*"))


def _write_data(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(VIDEOS):
        path = write_clip(folder / f"{number:02}.mp4", frames=9 + number, size=(64, 64))
        if number == DAMAGED:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return folder


def _command(videos: Path, store: Path) -> list[str]:
    return [
        "extract", str(videos), "--store", str(store), "--branch", "internvideo2=tiny",
        "--device", "cpu", "--shard-rows", str(SHARD_ROWS), "--batch", "1",
    ]  # fmt: skip


def _start(command: Sequence[str], said: Path) -> ForkServerProcess:
    process = CONTEXT.Process(target=_in_child, args=(list(command), str(said)))
    process.start()
    return process


def _in_child(command: list[str], said: str) -> None:
    with open(said, "w") as file:  # noqa: PTH123
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.exit(_extract(command, None))


def _extract(command: list[str], said: Path | None) -> int:
    """The command in this process."""
    with mock.patch("extract.running.extraction.DecodePool", OwnProcess):
        if said is None:
            return main(command)
        with said.open("w") as file, mock.patch("sys.stdout", file), mock.patch("sys.stderr", file):
            return main(command)
