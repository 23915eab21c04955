"""Files that are judged: uploads, which lie in a folder of the service, and files under the root.

An upload is written under a name that begins with a dot, flushed, renamed, and only then gets a
row in the queue. So a file without a row is one that nobody waits for: it goes at the next start.
"""

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from features_store.commit import TEMPORARY_SUFFIX, make_directory, publish
from features_store.errors import WriteFailed
from heads.serving.messages import Refusal, Unscorable

LONGEST_NAME = 200
_CHUNK = 2**20


class Arriving:
    """An upload on its way. A context manager: what is not kept goes."""

    def __init__(self, folder: Path, name: str, most: int) -> None:
        self.id = name
        self._path = folder / f".{name}{TEMPORARY_SUFFIX}"
        self._most = most
        self._hash = hashlib.sha256()
        self.bytes = 0

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("xb")
        except OSError as error:
            raise not_kept(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # what a full disk has not taken
            self._file.close()
        self._path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, part: bytes) -> None:
        self.bytes += len(part)
        if self.bytes > self._most:
            raise too_large(self._most)
        try:
            self._file.write(part)
        except OSError as error:
            raise not_kept(error) from error
        self._hash.update(part)

    def keep(self, place: Path) -> None:
        """Whole, on the disk, under its own name."""
        try:
            self._file.flush()
            publish(self._path, place)
        except (OSError, WriteFailed) as error:
            raise not_kept(error) from error


def not_kept(error: Exception) -> Refusal:
    """The disk's fault."""
    reason = getattr(error, "strerror", None) or error
    return Refusal(507, f"The service cannot keep it: {reason}")


def too_large(most: int) -> Refusal:
    return Refusal(413, f"The file is too large; at most {most:,} bytes are taken (--max-bytes).")


def make_uploads(folder: Path, wanted: set[str]) -> None:
    """The folder of uploads; files that no job waits for are removed."""
    make_directory(folder)
    for path in folder.iterdir():
        if path.name not in wanted and path.is_file():
            path.unlink()


def plain_name(given: str) -> str:
    """What an upload is called: the last part of the name that its sender gave."""
    name = given.replace("\\", "/").rpartition("/")[2].strip()
    name = name.encode("utf-8", "replace").decode()[:LONGEST_NAME]
    return name if name.strip(".") else "upload"


def inside(root: Path, name: str) -> Path:
    """A file under the root, by its path from there; refused where it leads outside, by whatever
    way. Whether it is a video is not looked at."""
    missing = Refusal(404, "There is no such file under the root; give its path from there.")
    try:
        if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise Refusal(403, "Give a path below the root, without `..`.")
        real, top = os.path.realpath(root / name), os.path.realpath(root)
        if os.path.commonpath([real, top]) != top:
            raise Refusal(403, "That path leaves the root.")
        found = os.stat(real)  # noqa: PTH116
    except (OSError, ValueError) as error:
        raise missing from error
    if not stat.S_ISREG(found.st_mode):
        raise missing
    return Path(real)


def content_of(path: str) -> str:
    """A file's SHA-256."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Unscorable("it is no file any more")
            found = hashlib.sha256()
            while part := file.read(_CHUNK):
                found.update(part)
    except OSError as error:
        raise Unscorable(f"it cannot be read: {error.strerror}") from error
    return found.hexdigest()
