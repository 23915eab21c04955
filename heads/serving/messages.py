"""What the service and the process that judges say to each other; nothing here loads a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from features_store.errors import TelltaleError
from heads.errors import HeadError

WHOLE = "whole"
"""Of `segments`: the video is not cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One file that is to be judged."""

    id: str
    """By which networks know it that were told of it before, as by a file of boxes."""
    path: str
    root: str
    """The file lies in here, links followed, or it is refused."""
    segments: str = WHOLE
    """How it is cut: `whole`, or as `--segments` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who judges at the moment."""

    key: str
    """Two answers of one key to one file, cut alike, are the same answer."""
    bundle: str
    """The bundle's hash."""
    stamp: tuple[int, ...]
    """Of the bundle's file, as `stamp_of` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is."""

    step: str
    done: int = 0
    of: int = 0
    """0: it cannot be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a file."""

    key: str
    document: Mapping[str, Any]
    """As JSON; here and on the page the file is called `naming.NAME`."""
    page: str
    policy: str
    """The page's Content-Security-Policy."""


Tell = Callable[[Progress], object]


class Judge(Protocol):
    """Judges one file at a time."""

    def identity(self) -> Identity:
        """Who it is; a bundle that was replaced is loaded first."""

    def judge(self, task: Task, tell: Tell) -> Answer:
        """Raises `Unscorable` where the file is to blame, `Unfinished` where the machine is."""

    def close(self) -> None:
        """End at once, whatever it is at."""


class Unscorable(HeadError):
    """The file cannot be judged; the text says why."""


class Unfinished(HeadError):
    """Judging it broke off; the file may not be to blame."""


class Refusal(TelltaleError):
    """A request that is not carried out, with the status that HTTP has for it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def stamp_of(bundle: Path) -> tuple[int, ...]:
    """Changes when the bundle in a folder is replaced; empty where there is none."""
    try:
        found = (bundle / "bundle.json").stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
