"""What became of a run, or of a piece of it: counts, reasons, where the time went."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from extract.running.clock import STAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A video that cannot be used."""

    id: str
    reason: str
    whole: bool = True
    """False: it failed under some of the run's protocols or for some of its branches, and is there
    for the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A shard that is in the store."""

    branch: str
    shard: int
    rows: int
    """How many of its rows this run wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a process has done since its last report."""

    ok: int = 0
    failures: Sequence[Failure] = ()
    commits: Sequence[Commit] = ()
    waited: Mapping[str, float] = field(default_factory=dict)
    device_busy: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of a run."""

    ok: int
    failures: Sequence[Failure]
    seconds: float
    waited: Mapping[str, float]
    """Seconds per stage, of all processes together; what is missing of the whole is the callers'
    own work."""
    device_busy: float
    """Seconds, of all devices together."""
    devices: int = 1
    stopped: bool = False
    """Ended early, by an interruption."""

    @staticmethod
    def nothing() -> "Summary":
        return Summary(
            ok=0, failures=(), seconds=0.0, waited=dict.fromkeys(STAGES, 0.0), device_busy=0.0
        )

    @property
    def done(self) -> int:
        return self.ok + len(self.failures)

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def idle(self) -> float:
        """The share of the run in which a device had nothing to do."""
        return idle(self.device_busy, self.seconds, self.devices)

    def lines(self) -> Iterator[str]:
        """For people."""
        if not self.done:
            yield "nothing to do"
            return
        failed = f", {len(self.failures)} failed" if self.failures else ""
        yield f"{self.ok} videos{failed} in {self.seconds:.1f} s ({self.rate:.1f} a second)"
        spent = time_line(self.waited, self.device_busy, self.seconds, self.devices)
        yield f"time went to: {spent}"
        for reason, count in grouped(self.failures):
            yield f"  {count:6}  {reason}"


def time_line(waited: Mapping[str, float], busy: float, seconds: float, devices: int) -> str:
    """Shares of the wall clock, averaged over the processes that feed a device each."""
    total = max(seconds * devices, 1e-9)
    waits = ", ".join(f"{name} {waited[name] / total:.0%}" for name in STAGES)
    return f"{waits}; device idle {idle(busy, seconds, devices):.0%}"


def idle(busy: float, seconds: float, devices: int) -> float:
    return max(0.0, 1 - busy / max(seconds * devices, 1e-9))


def grouped(failures: Sequence[Failure]) -> list[tuple[str, int]]:
    """Reasons and how often, numbers in them aside; most frequent first."""
    kinds = Counter(re.sub(r"\d[\d,.]*", "N", failure.reason) for failure in failures)
    return kinds.most_common()
