"""Every error that `extract` raises on purpose.

    TelltaleError
    └── ExtractError             anything about manifests, videos and views
        ├── BadManifest          one or more problems of a manifest, all of them listed
        ├── BadProtocol          a protocol, view or perturbation that does not exist
        ├── BadSetting           a limit, count or option outside what is allowed
        │   └── DoesNotFit       a network's numbers, too large for the type they are stored in
        ├── BadWeights           a weights file that is missing, broken, hostile or another model's
        ├── BadBoxes             a file of boxes that is missing, broken or has other columns
        └── VideoError           one video cannot be used; the run goes on without it
            ├── NotAFile         missing, a directory, a FIFO, outside the root, unreadable
            ├── NotAVideo        no container or no video stream that Telltale opens
            ├── DamagedVideo     it opens, but pictures are missing or broken
            ├── OverLimit        too large, too long, or more memory than a worker may use
            ├── Unreadable       the disk or the network failed while it was read; temporary
            └── WorkerLost       the workers that decoded it hung or died; temporary

A VideoError's text is a reason on one line, and travels between processes as that text. Videos that
failed for a temporary reason are tried again by the next run, others when that is asked for.
"""

from collections.abc import Sequence

from features_store.errors import TelltaleError

_SHOWN = 40
_TEMPORARY = "temporary: "


class ExtractError(TelltaleError):
    """Anything about manifests, videos and views."""


class BadManifest(ExtractError):
    """Everything that is wrong with a manifest, one line each."""

    def __init__(self, place: str, problems: Sequence[str]) -> None:
        self.place = place
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [f"{place}: {count} problem{'s' if count != 1 else ''}, nothing was read from it:"]
        lines += [f"  {problem}" for problem in self.problems[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"  … and {count - _SHOWN} more")
        super().__init__("\n".join(lines))


class BadProtocol(ExtractError, ValueError):
    """A protocol, view or perturbation that does not exist."""


class BadSetting(ExtractError, ValueError):
    """A limit, count or option outside what is allowed."""


class DoesNotFit(BadSetting):
    """Numbers of a network that are too large for the type they are stored in."""


class BadWeights(ExtractError):
    """A weights file that is missing, broken, hostile, or another model's."""


class BadBoxes(ExtractError):
    """A file of boxes that is missing, broken, or has other columns than boxes have."""


class TooManyFailures(ExtractError):
    """So many videos fail that something else must be wrong."""


class VideoError(ExtractError):
    """One video cannot be used."""

    temporary = False
    """Whether the machine may be to blame, and not the file: the next run tries it again."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))

    @property
    def kept(self) -> str:
        """The reason as the store keeps it; `is_temporary` reads it."""
        return f"{_TEMPORARY}{self}" if self.temporary else str(self)


def is_temporary(reason: str) -> bool:
    """Whether a reason that the store keeps is one that may have passed."""
    return reason.startswith(_TEMPORARY)


class NotAFile(VideoError):
    """Missing, a directory, a FIFO, outside the root, or unreadable."""


class NotAVideo(VideoError):
    """No container or no video stream that Telltale opens."""


class DamagedVideo(VideoError):
    """It opens, but pictures are missing or broken."""


class OverLimit(VideoError):
    """Too large, too long, or more memory than a worker may use."""


class Unreadable(VideoError):
    """The disk or the network failed while it was read."""

    temporary = True


class WorkerLost(VideoError):
    """The workers that decoded it hung or died, a fresh one too."""

    temporary = True


VIDEO_ERRORS = {
    kind.__name__: kind
    for kind in (VideoError, NotAFile, NotAVideo, DamagedVideo, OverLimit, Unreadable, WorkerLost)
}


def one_line(text: str) -> str:
    """Text for a terminal or a table: control characters escaped, nothing to break a line."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )
