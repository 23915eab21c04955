"""What a run has done so far: counts, rates, where the time goes; as a line and as a JSON log.

The log has one JSON object a line, `{"time": …, "event": …, …}`, for machines that watch.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

from extract.errors import one_line

LOG_EVERY = 5.0
STAGES = ("decode", "prepare", "device", "write")
"""The calling thread waits for decoded videos, copies them into batches and results into shards
(`prepare`), waits for the device, waits for the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A video that cannot be used."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of a run."""

    ok: int
    failures: Sequence[Failure]
    seconds: float
    waited: Mapping[str, float]
    """Seconds per stage; what is missing of the whole is the caller's own work."""
    device_busy: float
    """Seconds."""
    stopped: bool = False
    """Ended early, by an interruption."""

    @property
    def done(self) -> int:
        return self.ok + len(self.failures)

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    def lines(self) -> Iterator[str]:
        """For people."""
        if not self.done:
            yield "nothing to do"
            return
        failed = f", {len(self.failures)} failed" if self.failures else ""
        yield f"{self.ok} videos{failed} in {self.seconds:.1f} s ({self.rate:.1f} a second)"
        total = max(self.seconds, 1e-9)
        waits = ", ".join(f"{name} {self.waited[name] / total:.0%}" for name in STAGES)
        yield f"time went to: {waits}; device idle {1 - self.device_busy / total:.0%}"
        for reason, count in grouped(self.failures):
            yield f"  {count:6}  {reason}"


def grouped(failures: Sequence[Failure]) -> list[tuple[str, int]]:
    """Reasons and how often, numbers in them aside; most frequent first."""
    kinds = Counter(re.sub(r"\d[\d,.]*", "N", failure.reason) for failure in failures)
    return kinds.most_common()


@dataclass(slots=True, kw_only=True)
class Progress:
    """Counts, a clock per stage, a bar on the terminal and a log. A context manager."""

    total: int
    log: Path | None = None
    bar: bool = True
    ok: int = 0
    failures: list[Failure] = field(default_factory=list)
    waited: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    device_busy: float = 0.0
    stopped: bool = False
    _started: float = field(default_factory=time.perf_counter)
    _logged: float = 0.0
    _file: TextIO | None = None
    _bar: "tqdm[None] | None" = None

    def __enter__(self) -> Self:
        if self.log is not None:
            self._file = self.log.open("a", buffering=1)
        if self.bar:
            self._bar = tqdm(total=self.total, unit="video", disable=None, smoothing=0.1)
        self._started = time.perf_counter()
        self.event("start", videos=self.total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.event("end", error=None if error is None else str(error), **self._counts())
        if self._bar is not None:
            self._bar.close()
        if self._file is not None:
            self._file.close()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waited[name] += time.perf_counter() - start

    def video(self, failure: Failure | None = None) -> None:
        """One more video is decoded, or cannot be."""
        if failure is None:
            self.ok += 1
        else:
            self.failures.append(failure)
            self.event("failed", id=failure.id, reason=failure.reason)
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix_str(self._line(), refresh=False)
        if time.perf_counter() - self._logged > LOG_EVERY:
            self._logged = time.perf_counter()
            self.event("progress", **self._counts())

    def event(self, event: str, **details: object) -> None:
        if self._file is not None:
            line = {"time": round(time.time(), 3), "event": event, **details}
            self._file.write(json.dumps(line) + "\n")

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(one_line(text))

    def summary(self) -> Summary:
        return Summary(
            ok=self.ok,
            failures=tuple(self.failures),
            seconds=time.perf_counter() - self._started,
            waited=dict(self.waited),
            device_busy=self.device_busy,
            stopped=self.stopped,
        )

    def _counts(self) -> dict[str, object]:
        seconds = time.perf_counter() - self._started
        return {
            "ok": self.ok,
            "failed": len(self.failures),
            "left": self.total - self.ok - len(self.failures),
            "seconds": round(seconds, 3),
            "waited": {name: round(value, 3) for name, value in self.waited.items()},
            "device_busy": round(self.device_busy, 3),
        }

    def _line(self) -> str:
        total = max(time.perf_counter() - self._started, 1e-9)
        waits = " ".join(f"{name} {self.waited[name] / total:.0%}" for name in STAGES)
        idle = 1 - self.device_busy / total
        failed = f"{len(self.failures)} failed, " if self.failures else ""
        return f"{failed}{waits}, device idle {idle:.0%}"
