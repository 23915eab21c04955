"""The one way bytes become durable on a local disk.

A file is written under a temporary name beside its place, flushed to the disk, renamed into
place, and the folder is flushed too. So a reader, and a machine that lost power, sees the whole
old file or the whole new one.

What this does not promise: a disk that lies about flushing, or network file systems whose rename
is not atomic. A writer killed half-way leaves a temporary file, never a partial one under the
final name; `telltale store gc` sweeps them.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from features_store.errors import WriteFailed
from features_store.lock import alone

TEMPORARY_SUFFIX = ".partial"
_MAX_BUFFERS = 512  # IOV_MAX is 1024 on Linux
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}


def write_file(path: Path, buffers: Sequence[memoryview | bytes], *, replace: bool = True) -> bool:
    """Write the buffers, one after another, to `path`, durably and all or nothing.

    With `replace=False` an existing file stays as it is and False is returned: of several
    writers exactly one gets True.
    """
    temporary = path.with_name(
        f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    )
    try:
        descriptor = _create(temporary)
        try:
            _write_all(descriptor, buffers)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        created = _move(temporary, path, replace=replace)
        fsync_directory(path.parent)
    except OSError as error:
        _forget(temporary)
        raise WriteFailed(
            f"{path}: {error.strerror or error}. Nothing committed is lost; make room or fix the "
            f"disk, then run the same command again."
        ) from error
    except BaseException:
        _forget(temporary)
        raise
    return created


def publish(temporary: Path, path: Path) -> None:
    """Make a finished file durable under its own name."""
    try:
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        raise WriteFailed(f"{path}: {error.strerror}. Make room and try again.") from error


def fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create the folder and its parents, each entry flushed to the disk."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            fsync_directory(folder.parent)
    except OSError as error:
        raise WriteFailed(f"{error.filename}: {error.strerror}. Choose another folder.") from error


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        make_directory(path.parent)
        return os.open(path, flags, 0o666)


def _write_all(descriptor: int, buffers: Sequence[memoryview | bytes]) -> None:
    left = [view for view in (memoryview(buffer).cast("B") for buffer in buffers) if view.nbytes]
    while left:
        written = os.writev(descriptor, left[:_MAX_BUFFERS])
        while left and written >= left[0].nbytes:
            written -= left[0].nbytes
            left.pop(0)
        if written:
            left[0] = left[0][written:]


def _move(temporary: Path, path: Path, *, replace: bool) -> bool:
    if replace:
        temporary.replace(path)
        return True
    try:
        os.link(temporary, path)  # fails where the name exists: rename would overwrite it
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _move_without_links(temporary, path)
    finally:
        _forget(temporary)
    return True


def _move_without_links(temporary: Path, path: Path) -> bool:
    """For exFAT, SMB and many FUSE file systems: look and rename, one process at a time."""
    with alone(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return False
        temporary.replace(path)
        return True


def _forget(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink()
