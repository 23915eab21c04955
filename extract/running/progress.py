"""What a run has done so far: counts and failures, on a bar, in a log, to a parent process."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from extract.running.clock import Clock
from extract.running.run_log import RunLog
from extract.running.summary import Commit, Failure, Report, Summary, time_line

LOG_EVERY = 5.0
TELL_EVERY = 0.5
Tell = Callable[[Report], None]


@dataclass(slots=True, kw_only=True)
class Progress:
    """Counts, and where they are shown. A context manager."""

    total: int = 0
    log: Path | None = None
    bar: bool = True
    devices: int = 1
    tell: Tell | None = None
    """Who wants to know, twice a second and at the end: the process that dealt the work."""
    ok: int = 0
    failures: list[Failure] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    device_busy: float = 0.0
    stopped: bool = False
    _started: float = field(default_factory=time.perf_counter)
    _logged: float = 0.0
    _log: RunLog = field(default_factory=lambda: RunLog(None))
    _bar: "tqdm[None] | None" = None
    _commits: list[Commit] = field(default_factory=list)
    _told: float = 0.0
    _reported: Summary = field(default_factory=Summary.nothing)

    def __enter__(self) -> Self:
        self._log = RunLog(self.log)
        if self.bar:
            self._bar = tqdm(total=self.total, unit="video", disable=None, smoothing=0.1)
        self._started = time.perf_counter()
        self._log.write("start", videos=self.total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.report()
        self._log.write("end", error=None if error is None else str(error), **self._counts())
        if self._bar is not None:
            self._bar.close()
        self._log.close()

    def video(self, failure: Failure | None = None) -> None:
        """One more video is decoded, or cannot be."""
        if failure is None:
            self.ok += 1
        else:
            self._fail(failure)
        self._show(1)

    def failed_late(self, failure: Failure) -> None:
        """A video that was counted as decoded cannot be used after all."""
        if all(failure.id != known.id for known in self.failures):
            self.ok -= 1
            self._fail(failure)

    def commit(self, commit: Commit) -> None:
        """A shard is in the store."""
        self._log.write("commit", branch=commit.branch, shard=commit.shard, rows=commit.rows)
        if self.tell is not None:
            self._commits.append(commit)

    def add(self, report: Report) -> None:
        """What another process has done."""
        self.ok += report.ok
        for failure in report.failures:
            self._fail(failure)
        for commit in report.commits:
            self.commit(commit)
        for name, seconds in report.waited.items():
            self.clock.seconds[name] += seconds
        self.device_busy += report.device_busy
        self._show(report.ok + len(report.failures))

    def report(self) -> None:
        """Tell the process that dealt the work what is new."""
        if self.tell is None:
            return
        now, before = self.summary(), self._reported
        self.tell(
            Report(
                ok=now.ok - before.ok,
                failures=now.failures[len(before.failures) :],
                commits=tuple(self._commits),
                waited={name: now.waited[name] - before.waited[name] for name in now.waited},
                device_busy=now.device_busy - before.device_busy,
            )
        )
        self._commits.clear()
        self._reported, self._told = now, time.perf_counter()

    def summary(self) -> Summary:
        return Summary(
            ok=self.ok,
            failures=tuple(self.failures),
            seconds=time.perf_counter() - self._started,
            waited=dict(self.clock.seconds),
            device_busy=self.device_busy,
            devices=self.devices,
            stopped=self.stopped,
        )

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        self._log.write("failed", id=failure.id, reason=failure.reason)

    def _show(self, videos: int) -> None:
        now = time.perf_counter()
        if self._bar is not None and videos:
            self._bar.update(videos)
            self._bar.set_postfix_str(self._line(), refresh=False)
        if now - self._logged > LOG_EVERY:
            self._logged = now
            self._log.write("progress", **self._counts())
        if self.tell is not None and now - self._told > TELL_EVERY:
            self.report()

    def _counts(self) -> dict[str, object]:
        seconds = time.perf_counter() - self._started
        return {
            "ok": self.ok,
            "failed": len(self.failures),
            "left": self.total - self.ok - len(self.failures),
            "seconds": round(seconds, 3),
            "waited": {name: round(value, 3) for name, value in self.clock.seconds.items()},
            "device_busy": round(self.device_busy, 3),
        }

    def _line(self) -> str:
        seconds = time.perf_counter() - self._started
        failed = f"{len(self.failures)} failed, " if self.failures else ""
        return failed + time_line(self.clock.seconds, self.device_busy, seconds, self.devices)
