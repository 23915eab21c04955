"""What is counted, as Prometheus reads it."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_HELP = {
    "telltale_jobs": ("gauge", "jobs that are kept, by state"),
    "telltale_judge_up": ("gauge", "whether the worker's thread runs"),
    "telltale_jobs_ended_total": ("counter", "jobs that ended since the start, by state"),
    "telltale_breaks_total": ("counter", "times that judging broke off and was begun again"),
    "telltale_judging_seconds_total": ("counter", "seconds spent on jobs"),
    "telltale_uploaded_bytes_total": ("counter", "bytes of uploads that became jobs"),
    "telltale_responses_total": ("counter", "answers by HTTP status"),
}


class Counters:
    """Safe to use from several threads. A counter's name may end in its labels."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._seconds = 0.0
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._counts[name] += count

    @contextmanager
    def timed(self) -> Iterator[None]:
        """A job."""
        begun = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._seconds += time.monotonic() - begun

    def text(self, jobs: Mapping[str, int], *, alive: bool) -> str:
        """Everything, with what is true at the moment."""
        with self._lock:
            values: dict[str, float] = dict(self._counts)
            values["telltale_judging_seconds_total"] = round(self._seconds, 3)
        values |= {f'telltale_jobs{{state="{state}"}}': count for state, count in jobs.items()}
        values["telltale_judge_up"] = int(alive)
        lines = []
        for family, (kind, words) in _HELP.items():
            lines += [f"# HELP {family} {words}", f"# TYPE {family} {kind}"]
            found = {name: n for name, n in values.items() if name.partition("{")[0] == family}
            lines += [f"{name} {n:g}" if n < 1e5 else f"{name} {n}"
                      for name, n in sorted(found.items())]  # fmt: skip
        return "\n".join(lines) + "\n"
