"""One process writes a result at a time; whoever comes second is told who does.

The claim is a small file beside the result that its holder keeps locked with `flock`, which a
killed process lets go of, and renews every few seconds. Where `flock` is not known to the file
system, or does not reach other machines, the sign of life decides: a holder that gave none for
GRACE seconds counts as dead.

What this does not promise: without `flock`, a process that is stopped for longer than GRACE and
then goes on is not kept out.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features_store.commit import make_directory
from features_store.errors import InUse, WriteFailed
from features_store.lock import NO_FLOCK

GRACE = 30.0
"""Seconds without a sign of life after which a holder on another machine counts as dead."""
_RENEWALS = 6
"""Signs of life within GRACE."""
_SETTLES = 0.2
"""Seconds after which, without `flock`, the last of several that wrote their names has won."""


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Nobody else writes `path` meanwhile. Raises `InUse` at once where somebody does."""
    lock = path.with_name(f".{path.name}.lock")
    make_directory(path.parent)
    descriptor = _locked(path, lock)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(descriptor, ended), daemon=True)
    try:
        _sign(path, descriptor)
        renewing.start()
        yield
    finally:
        ended.set()
        if renewing.is_alive():
            renewing.join()
        with contextlib.suppress(OSError):
            if _is_at(descriptor, lock):
                lock.unlink()
        os.close(descriptor)


def _locked(path: Path, lock: Path) -> int:
    """A descriptor of the lock file that is there, locked where that is possible."""
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise WriteFailed(
                f"{path}: nothing can be written beside it ({error.strerror}). Make the folder "
                f"writable, or choose another."
            ) from error
        try:
            _check_free(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if _is_at(descriptor, lock):
            return descriptor
        os.close(descriptor)  # its holder ended and removed it in this very moment


def _check_free(path: Path, descriptor: int) -> None:
    """Lock it, if that can be done here; complain where somebody holds it."""
    alone = _flock(descriptor)
    if alone is False or _is_others(descriptor, flock=alone is True):
        raise _in_use(path, descriptor)


def _flock(descriptor: int) -> bool | None:
    """Whether it could be locked; None where the file system has no such thing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
        return None
    return True


def _is_others(descriptor: int, *, flock: bool) -> bool:
    """Whether the file names a living holder that the lock says nothing about."""
    holder = _holder(descriptor)
    if not holder or time.time() - os.fstat(descriptor).st_mtime > GRACE:
        return False
    if holder.get("host") != socket.gethostname():
        return True
    return not flock and _runs(int(holder.get("pid", 0)))


def _sign(path: Path, descriptor: int) -> None:
    mine = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, mine, 0)
    if _flock(descriptor) is None:
        time.sleep(_SETTLES)
        if _holder(descriptor) != json.loads(mine):
            raise _in_use(path, descriptor)


def _holder(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _in_use(path: Path, descriptor: int) -> InUse:
    holder = _holder(descriptor)
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    return InUse(
        f"{path}: another process writes this ({who}). Wait for it, or choose another name. One "
        f"that was killed on another machine counts as writing for {GRACE:.0f} more seconds."
    )


def _is_at(descriptor: int, lock: Path) -> bool:
    try:
        there = lock.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return pid > 0


def _renew(descriptor: int, ended: threading.Event) -> None:
    while not ended.wait(GRACE / _RENEWALS):
        with contextlib.suppress(OSError):
            os.utime(descriptor)
