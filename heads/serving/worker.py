"""The thread that takes jobs from the queue, one at a time, and has them judged."""

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from extract.manifest.names import unescaped
from features_store.errors import TelltaleError
from heads.serving.files import content_of, inside
from heads.serving.jobs import Job, Queue
from heads.serving.messages import (
    Identity,
    Judge,
    Progress,
    Refusal,
    Task,
    Unfinished,
    Unscorable,
    stamp_of,
)
from heads.serving.metrics import Counters
from heads.serving.naming import file_id

_ROUND = 1.0
"""Seconds after which it looks whether it should end, should nobody wake it."""


class Worker:
    """`on_end` hears of every job that ended."""

    def __init__(  # noqa: PLR0913 (what it works on, and who hears of it)
        self, judge: Judge, queue: Queue, uploads: Path, root: Path | None, bundle: Path,
        counters: Counters, on_end: Callable[[Job], object] = lambda _: None,
    ) -> None:  # fmt: skip
        self._judge, self._queue, self._counters = judge, queue, counters
        self._uploads, self._root, self._bundle = uploads, root, bundle
        self._on_end = on_end
        self._ending = threading.Event()
        self._at: tuple[str, Progress] | None = None
        self._known: Identity | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Raises what keeps the judge from starting."""
        self._known = self._judge.identity()
        self._thread.start()

    def close(self) -> None:
        """At once: what it is at waits for the next service."""
        self._ending.set()
        self._queue.end()
        self._judge.close()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def identity(self) -> Identity | None:
        """Who judges now; None where the bundle was replaced and nobody has loaded it yet."""
        known = self._known
        return known if known is not None and known.stamp == stamp_of(self._bundle) else None

    def progress(self, job: str) -> Progress | None:
        """Of the job that runs."""
        at = self._at
        return at[1] if at is not None and at[0] == job else None

    def _run(self) -> None:
        while not self._ending.is_set():
            job = self._queue.take(_ROUND)
            if job is None:
                continue
            try:
                with self._counters.timed():
                    self._do(job)
            except Exception:  # a full disk, say: the service answers on, and tries again
                logging.getLogger(__name__).exception("job %s broke off", job.id)
                self._put_back(job)
            self._at = None

    def _put_back(self, job: Job) -> None:
        """As soon as the disk takes that."""
        while not self._ending.wait(_ROUND):
            with contextlib.suppress(Exception):
                self._queue.retry(job, "the service could not keep what came of it")
                return

    def _do(self, job: Job) -> None:
        try:
            self._tell(job, Progress(step="beginning"))
            self._finish(job)
        except Unfinished as error:
            if self._ending.is_set():
                return  # the queue puts it back
            self._counters.add("telltale_breaks_total")
            if self._queue.retry(job, str(error)):
                return
        except Refusal as error:  # the file is gone, or leads out of the root now
            self._queue.fail(job.id, str(error))
        except TelltaleError as error:
            if not isinstance(error, Unscorable) and not self._judges():
                self._queue.retry(job, str(error))
                return
            self._queue.fail(job.id, str(error))
        self._let_go(job)

    def _judges(self) -> bool:
        try:
            self._judge.identity()
        except TelltaleError:
            return False
        return True

    def _let_go(self, job: Job) -> None:
        """It has ended, and stays so, whoever cannot be told of it."""
        try:
            if job.kind == "upload":
                (self._uploads / job.place).unlink(missing_ok=True)
            ended = self._queue.job(job.id)
            self._counters.add(f'telltale_jobs_ended_total{{state="{ended.state}"}}')
            self._on_end(ended)
        except Exception as error:  # a log that nobody reads any more, say
            logging.getLogger(__name__).warning("after job %s: %s", job.id, error)

    def _finish(self, job: Job) -> None:
        self._known = self._judge_now(job)
        path, root = self._file(job)
        before = _version(path)
        sha256 = content_of(str(path))
        self._queue.note_content(job.id, sha256)
        known = self._queue.judged(sha256, self._known.key, job.segments)
        if known is not None:
            self._queue.copy(job.id, known)
            return
        name = str(Path(unescaped(job.place))) if job.kind == "path" else job.name
        task = Task(id=file_id(name), path=str(path), root=str(root), segments=job.segments)
        answer = self._judge.judge(task, lambda progress: self._tell(job, progress))
        if _version(path) != before:
            raise Unscorable("the file changed while it was looked at; send it again")
        self._queue.finish(job.id, answer)

    def _judge_now(self, job: Job) -> Identity:
        """Who judges. A bundle that is being replaced is waited for: no file is to blame."""
        said = ""
        while True:
            try:
                return self._judge.identity()
            except Unfinished:
                raise
            except TelltaleError as error:
                if str(error) != said:
                    said = str(error)
                    logging.getLogger(__name__).warning("jobs wait: %s", said)
                self._tell(job, Progress(step="waiting for the bundle"))
                if self._ending.wait(_ROUND):
                    raise Unfinished("the service ends") from error

    def _file(self, job: Job) -> tuple[Path, Path]:
        if job.kind == "upload":
            return self._uploads / job.place, self._uploads
        if self._root is None:
            raise Unscorable("the service has no root any more (--root)")
        return inside(self._root, unescaped(job.place)), self._root

    def _tell(self, job: Job, progress: Progress) -> None:
        self._at = (job.id, progress)


def _version(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise Unscorable(f"it cannot be read: {error.strerror}") from error
    return found.st_size, found.st_mtime_ns
