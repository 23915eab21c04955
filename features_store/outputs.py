"""Where a command's results go. One rule for every command:

What a command did not make is never replaced, unless the user says so with `--overwrite`. What it
made itself it goes on with, or replaces, when it was made from the same things; otherwise one line
says what differs.

A command knows its own work by a record that it left: for a file `.NAME.made` beside it, for a
folder `.made.json` inside. A file's record holds the file's size and time, so a result that
somebody changed since is theirs. Records are written before what they are about, so a killed
command leaves nothing that it does not know again.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from features_store.commit import make_directory, publish, write_file
from features_store.errors import OutputExists, WriteFailed

FORMAT = 1
RECORD = ".made.json"
"""A folder's record."""
_KEPT = 2
"""Versions of a file that its record knows: the new one, and the one that it replaces."""
_CHUNK = 2**16
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

MadeFrom = Mapping[str, Any]
Stamp = tuple[int, int]
"""A file's size, and when it was changed last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a command left about a result."""

    command: str
    made_from: MadeFrom
    """Name → what decides the result, as JSON."""
    files: Mapping[str, Sequence[Stamp]] = field(default_factory=dict)
    """Name → the file's stamps, the newest first."""
    done: bool = False
    """A folder: everything is in it."""

    def encode(self) -> bytes:
        document = {
            "format": FORMAT, "command": self.command, "made_from": self.made_from,
            "files": self.files, "done": self.done,
        }  # fmt: skip
        return f"{json.dumps(document, indent=1, sort_keys=True)}\n".encode()

    @staticmethod
    def read(path: Path) -> "Record | None":
        """None where there is none that can be read."""
        try:
            found = json.loads(path.read_bytes())
            if found.pop("format") != FORMAT:
                return None
            stamps = {
                name: [(int(size), int(time)) for size, time in each]
                for name, each in found.pop("files").items()
            }
            return Record(**found, files=stamps)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


class Product:
    """A file that a command makes, perhaps with others beside it that belong to it."""

    def __init__(
        self, path: Path, command: str, *, overwrite: bool = False, beside: Sequence[Path] = ()
    ) -> None:
        """Refuses a place that cannot be written, and what the command did not make."""
        check_place(path)
        self.path = path
        self.command = command
        self._overwrite = overwrite
        self._files = (path, *beside)
        self._record = path.with_name(f".{path.name}.made")
        self.found = Record.read(self._record)
        if overwrite:
            return
        for file in self._files:
            if file.exists() and not self._is_ours(file):
                raise OutputExists(_foreign(file, command))

    def check(self, made_from: MadeFrom, *, may_differ: Sequence[str] = ()) -> bool:
        """Refuse what was made from other things; whether it is there already, as it would be."""
        if not self.path.exists() or self.found is None or self.found.command != self.command:
            return False
        differs = differences(self.found.made_from, made_from)
        refused = [name for name in differs if name not in may_differ]
        if refused and not self._overwrite:
            raise OutputExists(_differs(self.path, self.command, refused))
        return not differs and self.is_newest

    @property
    def is_newest(self) -> bool:
        """What is there is what the record was written for last."""
        return self.found is not None and all(
            file.exists() and list(self.found.files.get(file.name, ()))[:1] == [_stamp(file)]
            for file in self._files
        )

    def write(self, buffers: Sequence[memoryview | bytes], made_from: MadeFrom) -> None:
        """The file, durably, all or nothing."""
        make_directory(self.path.parent)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.draft")
        try:
            write_file(draft, buffers)
            self.publish([draft], made_from)
        finally:
            draft.unlink(missing_ok=True)

    def publish(self, drafts: Sequence[Path], made_from: MadeFrom) -> None:
        """Finished files take their names, the first one last."""
        known = {} if self.found is None else self.found.files
        files = {
            file.name: [_stamp(draft), *known.get(file.name, ())][:_KEPT]
            for file, draft in zip(self._files, drafts, strict=True)
        }
        self.found = Record(command=self.command, made_from=plain(made_from), files=files)
        write_file(self._record, [self.found.encode()])
        for file, draft in reversed(list(zip(self._files, drafts, strict=True))):
            publish(draft, file)

    def _is_ours(self, file: Path) -> bool:
        found = self.found
        if found is None or found.command != self.command:
            return False
        return _stamp(file) in found.files.get(file.name, ())


class Log:
    """A file to which a command appends lines for as long as it runs, and goes on with later."""

    def __init__(
        self, path: Path, command: str, made_from: MadeFrom, *, overwrite: bool = False
    ) -> None:
        """Refuses what the command did not begin, or began from other things."""
        check_place(path)
        self.path = path
        self._made = Record(command=command, made_from=plain(made_from))
        self._record = path.with_name(f".{path.name}.made")
        found = Record.read(self._record)
        # Its record has no size: it grows. One with a size is of a file that was written whole.
        self._goes_on = found is not None and found.command == command and not found.files
        self._same = found is not None and not differences(found.made_from, made_from)
        if overwrite or not path.exists():
            return
        if not self._goes_on or found is None:
            raise OutputExists(_foreign(path, command))
        if not self._same:
            raise OutputExists(_differs(path, command, differences(found.made_from, made_from)))

    def begin(self) -> None:
        """Make it, or go on with it; a torn last line, from a kill, is cut off."""
        make_directory(self.path.parent)
        if not (self._goes_on and self._same and self.path.exists()):
            self.path.unlink(missing_ok=True)
        write_file(self._record, [self._made.encode()])
        with self.path.open("ab+") as file:
            _cut_torn_line(file)

    def append(self, lines: bytes) -> None:
        """Whole lines, durably."""
        try:
            with self.path.open("ab") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise WriteFailed(
                f"{self.path}: {error.strerror or error}. Make room, and run the same again."
            ) from error


class Folder:
    """A folder that a command fills."""

    def __init__(self, path: Path, command: str, *, overwrite: bool = False) -> None:
        """Refuses a place that cannot be written, and a folder of something else."""
        check_place(path, folder=True)
        self.path = path
        self.command = command
        self._overwrite = overwrite
        self.found = Record.read(path / RECORD)
        ours = self.found is not None and self.found.command == command
        if not overwrite and not ours and path.is_dir() and any(path.iterdir()):
            raise OutputExists(_foreign(path, command))

    def check(self, made_from: MadeFrom) -> bool:
        """Refuse what was made from other things; whether all of it is there already."""
        if self.found is None or self.found.command != self.command:
            return False
        differs = differences(self.found.made_from, made_from)
        if differs and not self._overwrite:
            raise OutputExists(_differs(self.path, self.command, differs))
        return not differs and self.found.done

    def begin(self, made_from: MadeFrom, outdated: Sequence[str] = ()) -> bool:
        """Make the folder, or go on in it; whether all is there already.

        Files named in `outdated` go where the folder was made from something else: they would be
        gone on with.
        """
        done = self.check(made_from)
        same = self.found is not None and not differences(self.found.made_from, made_from)
        if not same and self._overwrite:
            for name in outdated:
                (self.path / name).unlink(missing_ok=True)
        if not same or self.found is None or self.found.command != self.command:
            make_directory(self.path)
            self.found = Record(command=self.command, made_from=plain(made_from))
            write_file(self.path / RECORD, [self.found.encode()])
        return done

    def finish(self) -> None:
        """All of it is there."""
        assert self.found is not None
        write_file(self.path / RECORD, [finished(self.command, self.found.made_from)])


def finished(command: str, made_from: MadeFrom) -> bytes:
    """The record of a folder that is whole, for those that are put together elsewhere."""
    return Record(command=command, made_from=plain(made_from), done=True).encode()


def check_place(path: Path, *, folder: bool = False) -> None:
    """Refuse what cannot be written, before any work is done."""
    if _URL.match(str(path)):
        raise WriteFailed(f"{path} is a URL; results go to a disk. Name a file, and copy it there.")
    try:
        if path.is_dir() and not folder:
            raise WriteFailed(f"{path} is a folder; name a file in it.")
        if path.exists() and folder and not path.is_dir():
            raise WriteFailed(f"{path} is a file; name a folder.")
        parent = path if folder else path.parent
        while not parent.exists():
            parent = parent.parent
        writable = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
    except OSError as error:
        raise WriteFailed(f"{path}: {error.strerror}. Choose another place.") from error
    if not writable:
        raise WriteFailed(f"{path}: nothing can be written into {parent}; choose another place.")


def differences(there: MadeFrom, wanted: MadeFrom) -> list[str]:
    """Names of what is not the same."""
    wanted = plain(wanted)
    return sorted(n for n in {*there, *wanted} if there.get(n) != wanted.get(n))


def plain(made_from: MadeFrom) -> MadeFrom:
    """As it comes back from JSON."""
    found: MadeFrom = json.loads(json.dumps(made_from, sort_keys=True, default=str))
    return found


def _cut_torn_line(file: BinaryIO) -> None:
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _CHUNK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            file.truncate(start + found + 1)
            return
        end = start
    file.truncate(0)


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _foreign(path: Path, command: str) -> str:
    return (
        f"{path} is there, and this `telltale {command}` did not make it, or it was changed since. "
        f"Choose another name, or replace it with --overwrite."
    )


def _differs(path: Path, command: str, differs: Sequence[str]) -> str:
    return (
        f"{path} was made by `telltale {command}` with another {', '.join(differs)}. Choose "
        f"another name, or replace it with --overwrite."
    )
