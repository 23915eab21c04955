"""The judge in a process of its own, so that the service answers while networks compute, outlives
a judge that the machine kills, and can end one at once.

    python -m heads.serving.judge_process SOCKET

The first message makes the judge; it ends when its socket or its standard input is closed, which
happens when the service is gone, however that was killed.
"""

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from extract import processes
from features_store.errors import TelltaleError
from heads.errors import BadRun, HeadError
from heads.serving.messages import (
    Answer,
    Identity,
    Judge,
    Progress,
    Task,
    Tell,
    Unfinished,
    Unscorable,
)

_IDENTITY = "identity"
_DIED = "the process that judges died (out of memory?)"


class JudgeProcess:
    """Started when it is first asked, and again when it has died."""

    def __init__(self, make: Callable[[], Judge]) -> None:
        """`make` is called in the process; it is sent there as a pickle."""
        self._make = make
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._closed = False

    def identity(self) -> Identity:
        self._start()
        found = self._ask(_IDENTITY, lambda _: None)
        assert isinstance(found, Identity)
        return found

    def judge(self, task: Task, tell: Tell) -> Answer:
        self._start()
        found = self._ask(task, tell)
        assert isinstance(found, Answer)
        return found

    def close(self) -> None:
        """From any thread; whoever waits for it hears that it died."""
        with self._guard:
            self._closed = True
            if self._process is not None:
                _end(self._process)

    def _start(self) -> None:
        with self._guard:
            if self._closed:
                raise Unfinished("the service ends")
            if self._process is not None:
                if self._process.poll() is None:
                    return
                _end(self._process)
            module = "heads.serving.judge_process"
            self._process, self._connection = processes.start(module, subprocess.PIPE)
        with contextlib.suppress(OSError):
            self._connection.send(self._make)

    def _ask(self, question: object, tell: Tell) -> object:
        assert self._process is not None
        try:
            self._connection.send(question)
            while isinstance(found := self._connection.recv(), Progress):
                tell(found)
        except (EOFError, OSError) as error:
            with self._guard:
                _end(self._process)
            raise Unfinished(_DIED) from error
        if isinstance(found, Exception):
            raise found
        return found


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def main(arguments: Sequence[str]) -> None:
    connection = Connection(int(arguments[0]))
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    judge: Judge | HeadError | None = None
    with contextlib.suppress(EOFError, OSError):
        make: Callable[[], Judge] = connection.recv()
        while True:
            question = connection.recv()
            if judge is None or isinstance(judge, HeadError):
                judge = _made(make)
            found = judge if isinstance(judge, HeadError) else _reply(judge, question, connection)
            connection.send(found)


def _end_with_the_service() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _made(make: Callable[[], Judge]) -> Judge | HeadError:
    try:
        return make()
    except Exception as error:
        return _told(error)


def _reply(judge: Judge, question: object, connection: Connection) -> object:
    try:
        if isinstance(question, Task):
            return judge.judge(question, connection.send)
        return judge.identity()
    except Exception as error:
        return _told(error)


def _told(error: Exception) -> HeadError:
    """What can be sent. Whatever nobody expects is one job's failure, and is named as what it
    is."""
    if isinstance(error, Unfinished | Unscorable):
        return error
    if isinstance(error, TelltaleError):
        return BadRun(str(error))
    logging.getLogger(__name__).error("judging failed", exc_info=error)
    return Unscorable(f"{type(error).__name__}: {error} (not an error that Telltale expects)")


if __name__ == "__main__":
    main(sys.argv[1:])
