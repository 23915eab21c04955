"""Where a manifest's rows lie: what holds for a folder is found out once, not for each file.

Nothing is asked of the disk but whether a file is a link, and not even that below a folder that is
not there. Files of a folder that many rows name are looked up in one listing of it.
"""

import os
from dataclasses import dataclass, field
from itertools import islice

from extract.manifest.names import escaped

_LISTED_FROM = 64
"""Rows of a folder from which on it is listed."""
_LISTED_EACH = 8
"""Of so many entries a row at most: a listing costs no more than asking for each row's file."""


@dataclass(slots=True)
class Folder:
    """One folder below the root."""

    path: str
    """With a slash at its end, to be followed by a file's name."""
    id: str
    """What an id begins with."""
    stays: bool
    """Whether it lies below the root when links are followed."""
    there: bool
    links: frozenset[str] | None = None
    """The links in it; None where it was not listed."""
    _rows: int = field(default=0)
    _next: int = field(default_factory=lambda: _LISTED_FROM)

    def has_link(self, name: str) -> bool:
        """Whether this file is a link."""
        if not self.there:
            return False
        if self.links is None:
            self._rows += 1
            if self._rows == self._next:
                self._next *= 2
                self.links = _links(self.path, self._rows * _LISTED_EACH)
        if self.links is not None:
            return name in self.links
        return os.path.islink(self.path + name)  # noqa: PTH114, bytes-exact


class Folders:
    """All folders that rows of one manifest lie in."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._resolved_root = os.path.realpath(root)
        self._below = root if root.endswith("/") else f"{root}/"
        self._known: dict[tuple[str, str], Folder | None] = {}

    def of(self, base: str, file: str) -> tuple[Folder, str] | None:
        """The folder of `file`, a name relative to `base`, and the name in it. None where that is
        not plainly below the root: `relative` tells then."""
        cut = file.rfind("/") + 1
        head, name = file[:cut], file[cut:]
        key = (base, head)
        if key not in self._known:
            self._known[key] = self._folder(os.path.normpath(os.path.join(base, head)))  # noqa: PTH118
        folder = self._known[key]
        return None if folder is None or name in ("", ".", "..") else (folder, name)

    def _folder(self, path: str) -> Folder | None:
        whole = path if path.endswith("/") else f"{path}/"
        if not whole.startswith(self._below) or whole.startswith("//"):
            return None
        return Folder(
            path=whole,
            id=escaped(whole[len(self._below) :]),
            stays=self.stays(path),
            there=os.path.isdir(path),  # noqa: PTH112
        )

    def relative(self, path: str) -> str | None:
        """The path below the root; None where it leaves it by its name."""
        relative = os.path.relpath(path, self.root)
        if relative == os.curdir or relative == os.pardir or relative.startswith("../"):
            return None
        return relative.replace(os.sep, "/")

    def stays(self, path: str) -> bool:
        """Whether what is there lies below the root when links are followed."""
        resolved = os.path.realpath(path)
        return os.path.commonpath([resolved, self._resolved_root]) == self._resolved_root


def _links(folder: str, most: int) -> frozenset[str] | None:
    """Names of links in a folder; None where it has more than `most` entries or cannot be read."""
    try:
        with os.scandir(folder) as found:
            entries = list(islice(found, most + 1))
    except OSError:
        return None
    if len(entries) > most:
        return None
    return frozenset(entry.name for entry in entries if entry.is_symlink())
