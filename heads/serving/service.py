"""A service: its settings, and what runs while it does."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from features_store.claim import claimed
from features_store.commit import make_directory
from heads.errors import BadSetting
from heads.serving.files import make_uploads
from heads.serving.jobs import RUNNING, Job, Queue
from heads.serving.messages import WHOLE, Judge
from heads.serving.metrics import Counters
from heads.serving.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `telltale serve` was asked for."""

    folder: Path
    """The queue, and uploads until they are judged."""
    bundle: Path
    root: Path | None = None
    """Files in here may be named by their path; None: uploads alone."""
    token: str | None = None
    """Whoever asks must have it; None: nobody needs one."""
    hosts: frozenset[str] = frozenset()
    """Names by which a service without a token may be called, beside those of this machine."""
    segments: str = WHOLE
    """How a video is cut of which nobody says it."""
    max_bytes: int = 2**30
    max_waiting: int = 100
    keep: int = 1000
    """Jobs that ended and are still known."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_waiting", "keep"):
            if getattr(self, name) < 1:
                option = f"--{name.replace('_', '-')}"
                raise BadSetting(f"{option} {getattr(self, name)}: give 1 or more.")
        if self.root is not None and not self.root.is_dir():
            raise BadSetting(f"--root {self.root}: no such folder.")

    @property
    def uploads(self) -> Path:
        return self.folder / "uploads"


class Service:
    """A context manager: open, it takes jobs and has them judged."""

    def __init__(
        self, settings: Settings, judge: Judge, on_end: Callable[[Job], object] = lambda _: None
    ) -> None:
        self.settings = settings
        self.counters = Counters()
        self.arriving = 0
        """Uploads on their way."""
        self.ends = asyncio.Event()
        """Set when it should not wait for the rest of them."""
        self._judge, self._on_end = judge, on_end
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        settings = self.settings
        make_directory(settings.folder)
        with ExitStack() as opened:
            opened.enter_context(claimed(settings.folder / "queue.sqlite"))
            self.queue = Queue(
                settings.folder / "queue.sqlite", most=settings.max_waiting, kept=settings.keep
            )
            opened.callback(self.queue.close)
            make_uploads(settings.uploads, self.queue.uploads())
            self.worker = Worker(
                self._judge, self.queue, settings.uploads, settings.root, settings.bundle,
                self.counters, self._on_end,
            )  # fmt: skip
            opened.callback(self.worker.close)
            self.worker.start()
            self._closing = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def told(self, job: Job) -> dict[str, Any]:
        """All that there is to say of a job, without its answer."""
        progress = self.worker.progress(job.id) if job.state == RUNNING else None
        step = None
        if progress is not None:
            step = {"step": progress.step, "done": progress.done, "of": progress.of}
        return {**job.document, "ahead": self.queue.ahead(job), "progress": step}

    def known(self, sha256: str, name: str, segments: str) -> Job | None:
        """A job of the same file, called the same, judged by who judges now or still to be."""
        identity = self.worker.identity
        return self.queue.like(sha256, identity.key if identity else "", segments, name)
