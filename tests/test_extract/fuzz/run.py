"""Thousands of broken files through the decode workers, and what must hold for each.

Every file ends as ok or as failed with a reason; no worker hangs; none stops on an error that the
code did not expect; memory and descriptors of workers stay bounded; no process is left; and no
file is opened but the one that was given, nor any connection made. File number i of a seed is
always the same, so one that misbehaved can be made again.
"""

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extract.decoding.containers import Limits
from extract.decoding.job import CLIPS, Job, Look, Outcome, Plan
from extract.decoding.pool import DecodePool
from extract.errors import WorkerLost
from tests.test_extract.clips import write_clip
from tests.test_extract.fuzz import mutations
from tests.test_extract.fuzz.opened import Watch

LIMITS = Limits(time_limit=30, memory_limit=2**30, max_pixels=2**22)
RECYCLE_AFTER = 1000
MOST_RESIDENT = 600 * 2**20
MOST_DESCRIPTORS = 32
_NAMES = (
    "{}.mp4", "{}.avi", "{}.m3u8", "concat:decoy.mp4|{}.mp4", "http:decoy{}.mp4", "pipe:{}.mp4",
    "-i decoy.mp4 {}.mp4", "%03d{}.mp4", "data:,{}.mp4", "file:decoy.mp4?{}", "*{}.mp4",
    "subfile,,start,{}.ts", "crypto:{}.mp4", "line\n{}.mp4", "async:cache:{}.mp4",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of the files."""

    files: int = 0
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """By the kind of failure."""
    reasons: Counter[str] = field(default_factory=Counter)
    by_mutation: Counter[str] = field(default_factory=Counter)
    """How many that each mutation made are ok."""
    lost: dict[int, str] = field(default_factory=dict)
    """Number of the file → how its worker hung or died."""
    unexpected: dict[int, str] = field(default_factory=dict)
    """Failures that are a bug, or that give no reason."""
    opened: list[str] = field(default_factory=list)
    """Files that nobody gave."""
    connections: int = 0
    resident: int = 0
    """Bytes, the most that a worker held."""
    descriptors: int = 0
    left: list[int] = field(default_factory=list)
    """Processes that did not end."""
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        failed = sum(self.failed.values())
        yield f"{self.files} files: {self.ok} ok, {failed} failed, {self.seconds:.0f} s"
        yield "failed: " + ", ".join(f"{kind} {n}" for kind, n in self.failed.most_common())
        for reason, count in self.reasons.most_common(25):
            yield f"  {count:6}  {reason}"
        yield "ok by mutation: " + ", ".join(f"{k} {n}" for k, n in self.by_mutation.most_common())
        yield f"workers hung or died: {self.lost or 'none'}"
        yield f"errors that are bugs, or without a reason: {self.unexpected or 'none'}"
        yield f"files opened besides the given one: {self.opened or 'none'}"
        yield f"connections made: {self.connections}"
        yield (
            f"a worker held at most {self.resident / 2**20:.0f} MiB and {self.descriptors} "
            f"descriptors; processes left: {self.left or 'none'}"
        )

    @property
    def held(self) -> bool:
        """Everything that was promised."""
        trouble = (self.lost, self.unexpected, self.opened, self.connections, self.left)
        return (
            not any(trouble)
            and self.ok + sum(self.failed.values()) == self.files
            and self.resident < MOST_RESIDENT
            and self.descriptors < MOST_DESCRIPTORS
        )


def broken_file(
    number: int, seed: int, clips: Mapping[str, bytes], real: Mapping[str, bytes]
) -> tuple[str, str, bytes]:
    """Its name, what was done to it, and its content."""
    rng = random.Random(f"{seed}:{number}")
    source = real if real and rng.random() < 0.3 else clips
    data = source[rng.choice(sorted(source))]
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        name = rng.choice(list(mutations.MUTATIONS))
        data = mutations.MUTATIONS[name](data, rng, [clips[key] for key in sorted(clips)])
        done.append(name)
    form = _NAMES[0] if rng.random() < 0.8 else rng.choice(_NAMES)
    return form.format(number), "+".join(done), data


def fuzz(  # noqa: PLR0913 (what is broken, how much of it, and where)
    folder: Path,
    clips: Mapping[str, bytes],
    numbers: Sequence[int],
    *,
    seed: int = 0,
    real: Mapping[str, bytes] | None = None,
    workers: int = 1,
    decoder: str = "pyav",
) -> Report:
    """Make each file, decode it, look at what happened, and remove it."""
    given, outside = folder / "given", folder / "outside"
    given.mkdir()
    outside.mkdir()
    decoys = [write_clip(place / "decoy.mp4", frames=9) for place in (given, outside)]
    report, made = Report(), dict[int, tuple[Path, str]]()
    before = set(_children())
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        mutations.TARGETS[3:] = [
            *(os.fsencode(decoy) for decoy in decoys),
            *(f"{scheme}://127.0.0.1:{port}/decoy.mp4".encode() for scheme in ("http", "tcp")),
            b"concat:decoy.mp4|decoy.mp4", b"subfile,,start,0,end,99,,:decoy.mp4", b"data:,x",
        ]  # fmt: skip

        def jobs() -> Iterator[Job]:
            for number in numbers:
                name, done, data = broken_file(number, seed, clips, real or {})
                path = given / name
                made[number] = path, done
                path.write_bytes(data)
                yield Job(index=number, id=name, path=str(path))

        watch = Watch([given, outside])
        plan = Plan(
            looks=(Look(protocol="val", outputs=(CLIPS,)),),
            root=str(given),
            decoder=decoder,
            limits=LIMITS,
        )
        with DecodePool(plan, workers=workers, recycle_after=RECYCLE_AFTER) as pool:
            for outcome in pool.run(jobs()):
                path, done = made[outcome.job.index]
                _note(report, outcome, done)
                _look_at(report, pool.processes)
                known = {str(each) for each, _ in made.values()} | {str(given), str(outside)}
                report.opened += [name for name in watch.take() if name not in known]
                path.unlink()
        watch.close()
        report.connections = _accepted(listener)
    report.seconds = time.monotonic() - start
    report.left = sorted(set(_children()) - before)
    return report


def _note(report: Report, outcome: Outcome, done: str) -> None:
    report.files += 1
    failure, number = outcome.failure, outcome.job.index
    if failure is None:
        report.ok += 1
        report.by_mutation[done.partition("+")[0]] += 1
        if set(outcome.arrays) != {CLIPS.name}:
            report.unexpected[number] = "no views"
        return
    reason = str(failure)
    report.failed[type(failure).__name__] += 1
    report.reasons["".join("N" if c.isdigit() else c for c in reason)] += 1
    if isinstance(failure, WorkerLost):
        report.lost[number] = f"{done}: {reason}"
    if len(reason) < 8 or reason.startswith("unexpected "):
        report.unexpected[number] = f"{done}: {reason}"


def _look_at(report: Report, workers: Sequence[int]) -> None:
    for worker in workers:
        own = Path(f"/proc/{worker}")
        try:
            pages = int((own / "statm").read_text().split()[1])
            descriptors = len(list((own / "fd").iterdir()))
        except OSError:  # it has just been replaced
            continue
        report.resident = max(report.resident, pages * os.sysconf("SC_PAGE_SIZE"))
        report.descriptors = max(report.descriptors, descriptors)


def _accepted(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


def _children() -> list[int]:
    """Processes that are ours, those that nobody has waited for too."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            except OSError:
                continue
            if int(parent) == os.getpid():
                found.append(int(entry.name))
    return found
