"""Processes of this machine that work on the same study beside this one."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from extract import processes
from heads.errors import BadSetting
from heads.training.memory import Memory
from heads.tuning.search import Search
from heads.tuning.study import open_study
from heads.tuning.trials import run_trials

Companion = tuple[subprocess.Popen[bytes], Connection]

_MODULE = "heads.tuning.trial_process"
_LAST_WORDS = 20.0
"""Seconds that one may take to say that its trial is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What each works at: the same, until so many trials are finished in all."""

    storage: str | None
    folder: Path
    directions: Sequence[str]
    search: Search
    limit: int

    def work(self) -> None:
        """Trials until there are enough."""
        study = open_study(self.storage, self.folder, self.directions, seed=self.search.seed)
        for _ in run_trials(study, self.search, self.limit):
            pass


def _start(part: Part, count: int, memory: Memory, started: list[Companion]) -> None:
    try:
        told = memory.shown(part)
        started.extend(processes.start(_MODULE, memory.file) for _ in range(count))
    except OSError as error:
        raise BadSetting(
            f"{count} more processes cannot be started ({error}); give fewer --processes, or a "
            f"folder with more room for temporary files by TMPDIR."
        ) from error
    for _, connection in started:
        with suppress(OSError):  # it is gone already, with words of its own
            connection.send(told)


@contextmanager
def companions(part: Part, count: int) -> Iterator[None]:
    """So many work while it is open. One that is killed is missed like any process of a study: its
    trial falls silent and is tried again."""
    if count < 1:
        yield
        return
    memory, started = Memory(), list[Companion]()
    try:
        _start(part, count, memory, started)
        yield
    finally:
        for _, connection in started:
            connection.close()
        for process, _ in started:
            try:
                process.wait(_LAST_WORDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        memory.close()
