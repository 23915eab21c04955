"""One process at a time, also in a folder that several machines share.

A lock is a file that is opened for writing and held with `flock`: local disks and NFS from Linux
2.6.12 on have that, and a killed process lets go. File systems without it (Lustre mounted without
`-o flock`, some FUSE) get a second file that only one process can create. Its holder renews it;
where it has not changed for GRACE seconds, its holder is taken for dead and it is removed.

What this does not promise: without `flock`, a process that is stopped for longer than GRACE and
then goes on is not kept out. The store's records find what that may do (see `record`).
"""

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from features_store.errors import WriteFailed

GRACE = 30.0
"""Seconds without a sign of life after which a lock's holder counts as dead."""
_RENEWALS = 5
"""Signs of life within GRACE."""
_POLL = 0.05
NO_FLOCK = {errno.EBADF, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
"""What a file system says of `flock` where it does not know it."""


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, made where there is none; others wait. It is never removed."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        with _flocked(path, descriptor) as held:
            if held:
                yield
            else:
                with _claimed(path.with_name(f"{path.name}.held")):
                    yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _flocked(path: Path, descriptor: int) -> Iterator[bool]:
    """Hold the lock; False where the file system has no such thing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise _refused(path, error) from error
        yield False
        return
    try:
        yield True
    finally:
        # Closing would not do: a child that was forked meanwhile holds the same lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    mine = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}".encode()
    try:
        _claim(path, mine)
    except OSError as error:
        raise _refused(path, error) from error
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(path, mine, done), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        with contextlib.suppress(OSError):
            if path.read_bytes() == mine:  # it may have been taken for dead, and be another's now
                path.unlink()


def _claim(path: Path, mine: bytes) -> None:
    seen: tuple[int, ...] = ()
    since = time.monotonic()
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            state = _state(path)
            if state != seen:
                seen, since = state, time.monotonic()
            elif time.monotonic() - since > GRACE:
                _remove(path, state)
            time.sleep(_POLL)
            continue
        try:
            os.write(descriptor, mine)
        finally:
            os.close(descriptor)
        return


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a holder gives a sign of life. Opening asks an NFS server anew."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ()
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return status.st_ino, status.st_mtime_ns


def _remove(path: Path, state: tuple[int, ...]) -> None:
    """Remove a dead holder's file: renamed first, for of several only one can do that."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")  # for `gc`, if killed
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if _state(aside) == state or path.exists():
            aside.unlink()
        else:  # another had removed the dead one's already, and this is a living one's
            aside.rename(path)


def _renew(path: Path, mine: bytes, done: threading.Event) -> None:
    while not done.wait(GRACE / _RENEWALS):
        with contextlib.suppress(OSError):
            if path.read_bytes() == mine:
                os.utime(path)


def _refused(path: Path, error: OSError) -> WriteFailed:
    return WriteFailed(
        f"{path}: it cannot be locked ({error.strerror or error}), so nothing was written. Make "
        f"the folder writable, or use another."
    )
