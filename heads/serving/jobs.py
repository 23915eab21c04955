"""The queue: every job, and what came of it, in one SQLite file.

A job's row is written and on the disk before its number is told to anybody. What a killed service
was at is waiting again when the file is opened. One service has the file at a time
(`features_store.claim`).

    waiting ──▶ running ──▶ done
       ▲           │  └───▶ failed
       └───────────┘  the service or its worker was killed
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from heads.errors import BadRun
from heads.serving.messages import WHOLE, Answer, Refusal

FORMAT = 1
ATTEMPTS = 3
"""Times that a job is begun before it counts as one that breaks its worker."""
WAITING, RUNNING, DONE, FAILED = STATES = ("waiting", "running", "done", "failed")
Kind = Literal["upload", "path"]
_TABLES = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    name TEXT NOT NULL, place TEXT NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT,
    segments TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0,
    submitted TEXT NOT NULL, started TEXT, ended TEXT, reason TEXT, line TEXT, key TEXT, answer TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE INDEX jobs_by_content ON jobs (sha256);
CREATE TABLE pages (id TEXT PRIMARY KEY, page TEXT NOT NULL, policy TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be judged, and how."""

    kind: Kind
    name: str
    """For people."""
    place: str
    """In the folder of uploads, or below the root."""
    bytes: int
    sha256: str | None = None
    segments: str = WHOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Asked):
    """A row."""

    number: int
    id: str
    state: str
    attempts: int
    submitted: str
    started: str | None
    ended: str | None
    reason: str | None
    """Why it failed."""
    line: str | None
    """The verdict in words."""
    key: str | None
    answer: str | None
    """JSON."""

    @property
    def document(self) -> dict[str, Any]:
        """What is answered about it; without progress."""
        return {
            "id": self.id, "kind": self.kind, "name": self.name,
            "path": self.place if self.kind == "path" else None, "bytes": self.bytes,
            "segments": self.segments, "sha256": self.sha256, "state": self.state,
            "submitted": self.submitted, "started": self.started, "ended": self.ended,
            "reason": self.reason, "line": self.line,
        }  # fmt: skip


class Queue:
    """Safe to use from several threads."""

    def __init__(self, path: Path, *, most: int, kept: int) -> None:
        """`most` jobs wait at a time; of those that have ended, the newest `kept` stay."""
        self._most, self._kept = most, kept
        self._changed = threading.Condition()
        self._closed = False
        self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._file.row_factory = sqlite3.Row
        try:
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = FULL")
            (found,) = self._file.execute("PRAGMA user_version").fetchone()
            if found == 0:
                self._file.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {FORMAT};COMMIT;")
        except sqlite3.DatabaseError as error:
            self._file.close()
            raise BadRun(f"{path} is no queue of `telltale serve` ({error}).") from error
        if found not in (0, FORMAT):
            self._file.close()
            raise BadRun(f"{path} has format {found}; this version reads {FORMAT}.")
        self._run("UPDATE jobs SET state = ? WHERE state = ?", WAITING, RUNNING)

    def add(self, asked: Asked, before: Callable[[], object] = lambda: None) -> Job:
        """A job that waits; refused where too many do. `before` is called first: it brings the
        file to its place."""
        with self._changed:
            self.check_room()
            before()
            job = secrets.token_hex(8)
            values = {"id": job, "submitted": _now(), **asdict(asked)}
            columns, marks = ", ".join(values), ", ".join("?" * len(values))
            self._run(f"INSERT INTO jobs ({columns}) VALUES ({marks})", *values.values())
            self._changed.notify_all()
        return self.job(job)

    def check_room(self, coming: int = 0) -> None:
        """`coming`: uploads on their way."""
        waiting = self.counts()[WAITING] + coming
        if waiting >= self._most:
            raise Refusal(
                503, f"{waiting} jobs wait, and no more than {self._most} may; try again later."
            )

    def take(self, seconds: float) -> Job | None:
        """The oldest job that waits, which is running from now on; None after so many seconds
        without one, or where the queue is closed."""
        ends = time.monotonic() + seconds
        with self._changed:
            while not self._closed:
                found = self._rows("SELECT id FROM jobs WHERE state = ? ORDER BY number LIMIT 1",
                                   WAITING)  # fmt: skip
                if found:
                    (name,) = found[0]
                    self._run("UPDATE jobs SET state = ?, started = ? WHERE id = ?",
                              RUNNING, _now(), name)  # fmt: skip
                    return self.job(name)
                left = ends - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
        return None

    def note_content(self, name: str, sha256: str) -> None:
        self._run("UPDATE jobs SET sha256 = ? WHERE id = ?", sha256, name)

    def finish(self, name: str, answer: Answer) -> None:
        """It is done; the oldest of many results go."""
        text = json.dumps(dict(answer.document), ensure_ascii=False, allow_nan=False)
        with self._changed, self._file:
            self._file.execute("BEGIN")
            self._run("INSERT OR REPLACE INTO pages VALUES (?, ?, ?)",
                      name, answer.page, answer.policy)  # fmt: skip
            self._done(name, answer.document["line"], answer.key, text)

    def copy(self, name: str, known: Job) -> None:
        """It is done: the same file was judged by the same bundle before."""
        with self._changed, self._file:
            self._file.execute("BEGIN")
            self._run("INSERT OR REPLACE INTO pages SELECT ?, page, policy FROM pages WHERE id = ?",
                      name, known.id)  # fmt: skip
            self._done(name, known.line, known.key, known.answer)

    def _done(self, name: str, line: str | None, key: str | None, answer: str | None) -> None:
        self._run(
            "UPDATE jobs SET state = ?, ended = ?, line = ?, key = ?, answer = ? WHERE id = ?",
            DONE, _now(), line, key, answer, name,
        )  # fmt: skip
        self._forget()

    def fail(self, name: str, reason: str) -> None:
        with self._changed, self._file:
            self._file.execute("BEGIN")
            self._run("UPDATE jobs SET state = ?, ended = ?, reason = ? WHERE id = ?",
                      FAILED, _now(), reason, name)  # fmt: skip
            self._forget()

    def retry(self, job: Job, reason: str) -> bool:
        """It broke off: it waits again, or has failed where that was so too often; whether it
        waits."""
        if job.attempts + 1 >= ATTEMPTS:
            self.fail(job.id, f"given up after {ATTEMPTS} attempts: {reason}")
            return False
        with self._changed:
            self._run("UPDATE jobs SET state = ?, attempts = attempts + 1 WHERE id = ?",
                      WAITING, job.id)  # fmt: skip
            self._changed.notify_all()
        return True

    def job(self, name: str) -> Job:
        found = self._rows("SELECT * FROM jobs WHERE id = ?", name)
        if not found:
            raise Refusal(404, "There is no such job; old ones are forgotten.")
        return Job(**dict(found[0]))

    def page(self, job: Job) -> tuple[str, str]:
        """A done job's page and its policy."""
        found = self._rows("SELECT page, policy FROM pages WHERE id = ?", job.id)
        if not found:
            raise Refusal(404, f"The job is {job.state}; only one that is done has a page.")
        page, policy = found[0]
        return page, policy

    def newest(self, count: int) -> list[Job]:
        """Without their answers, which may be long."""
        columns = ", ".join(field.name for field in fields(Job) if field.name != "answer")
        found = self._rows(f"SELECT {columns} FROM jobs ORDER BY number DESC LIMIT ?", count)
        return [Job(**dict(row), answer=None) for row in found]

    def like(self, sha256: str, key: str, segments: str, name: str | None = None) -> Job | None:
        """A job of the same file, cut alike: the one that judged it with that key, else one that
        will. `name`: the file must be called so."""
        found = self._rows(
            "SELECT * FROM jobs WHERE sha256 = ? AND segments = ? AND name = coalesce(?, name) AND "
            "((state = ? AND key = ?) OR state IN (?, ?)) ORDER BY state = ? DESC, number DESC "
            "LIMIT 1",
            sha256, segments, name, DONE, key, WAITING, RUNNING, DONE,
        )  # fmt: skip
        return Job(**dict(found[0])) if found else None

    def judged(self, sha256: str, key: str, segments: str) -> Job | None:
        """The former alone."""
        found = self.like(sha256, key, segments)
        return found if found is not None and found.state == DONE else None

    def ahead(self, job: Job) -> int:
        """How many jobs are before it."""
        if job.state != WAITING:
            return 0
        ((count,),) = self._rows(
            "SELECT COUNT(*) FROM jobs WHERE state = ? OR (state = ? AND number < ?)",
            RUNNING, WAITING, job.number,
        )  # fmt: skip
        return int(count)

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        found = {row[0]: row[1] for row in
                 self._rows("SELECT state, COUNT(*) FROM jobs GROUP BY state")}  # fmt: skip
        return {state: found.get(state, 0) for state in STATES}

    def uploads(self) -> set[str]:
        """Places of uploads that are still to be judged."""
        found = self._rows("SELECT place FROM jobs WHERE kind = 'upload' AND state IN (?, ?)",
                           WAITING, RUNNING)  # fmt: skip
        return {row[0] for row in found}

    def end(self) -> None:
        """Nobody gets a job any more; whoever waits for one is woken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """What is running waits again, for the next service."""
        with self._changed:
            self.end()
            self._run("UPDATE jobs SET state = ? WHERE state = ?", WAITING, RUNNING)
            self._file.close()

    def _forget(self) -> None:
        self._run(
            "DELETE FROM jobs WHERE state IN (?, ?) AND number <= (SELECT number FROM jobs WHERE "
            "state IN (?, ?) ORDER BY number DESC LIMIT 1 OFFSET ?)",
            DONE, FAILED, DONE, FAILED, self._kept,
        )  # fmt: skip
        self._run("DELETE FROM pages WHERE id NOT IN (SELECT id FROM jobs)")

    def _run(self, statement: str, *values: object) -> None:
        with self._changed:
            self._file.execute(statement, values)

    def _rows(self, statement: str, *values: object) -> Sequence[sqlite3.Row]:
        with self._changed:
            return self._file.execute(statement, values).fetchall()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
