"""From a path to an open container: what is let near FFmpeg, and how much of it.

A file is opened as that file and nothing else: by descriptor, never by a name that FFmpeg could
take for a protocol; by its content, from a list of containers, so that no playlist or script can
send the decoder to another file or to a network. Nothing here looks at streams or pictures.
"""

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Any

import av
from av.container import InputContainer

from extract.errors import (
    BadSetting,
    DamagedVideo,
    NotAFile,
    NotAVideo,
    OverLimit,
    Unreadable,
    VideoError,
)

CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif,ivf,h264,hevc,obu,m4v,mpegvideo,3gp"
MAX_STREAMS = 100
DIGEST_BYTES = 16
_TEMPORARY = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
"""The disk or the network failed, which says nothing of the file. FFmpeg says EIO of damaged files
too: there it is not believed."""
_READ_BYTES = 2**20
_SCRIPTS = {b"ffconcat": "an ffconcat script", b"#EXTM3U": "an HLS playlist", b"<": "XML or HTML"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is too much for one video."""

    max_pixels: int = 8192 * 4320
    """Width x height of a frame."""
    max_seconds: float = 600.0
    max_bytes: int = 2**30
    """Size of the file: its packets are held in memory."""
    time_limit: float = 120.0
    """Seconds of wall clock that a worker may spend on a video, for each protocol of the run."""
    memory_limit: int = 3 * 2**30
    """Bytes that a worker may have beyond what it starts with."""

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_seconds", "max_bytes", "time_limit", "memory_limit"):
            if not getattr(self, name) > 0:
                raise BadSetting(f"{name} is {getattr(self, name)}; give a number above 0.")


def open_file(path: str, root: str | None, limits: Limits) -> int:
    if root is not None:
        real, inside = os.path.realpath(path), os.path.realpath(root)
        if os.path.commonpath([real, inside]) != inside:
            raise NotAFile("it is a link that leaves the manifest's root")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _failed_disk(error) or NotAFile(f"it cannot be opened: {reason}") from error
    try:
        _check_file(handle, limits)
    except OSError as error:
        os.close(handle)
        raise _unreadable(error) from error
    except VideoError:
        os.close(handle)
        raise
    return handle


def digest_of(path: str) -> str:
    """`digest` of a file by its name."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return digest(handle)
    finally:
        os.close(handle)


def digest(handle: int) -> str:
    """Hex digits that stand for a file's whole content."""
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    offset = 0
    while part := os.pread(handle, _READ_BYTES, offset):
        found.update(part)
        offset += len(part)
    return found.hexdigest()


def read_digest(handle: int) -> str:
    """`digest`, with an error of the disk as a reason."""
    try:
        return digest(handle)
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> VideoError:
    return _failed_disk(error) or VideoError(f"it cannot be read: {error.strerror or error}")


def _failed_disk(error: BaseException) -> VideoError | None:
    number = getattr(error, "errno", None)
    if number not in _TEMPORARY or (
        isinstance(error, av.error.FFmpegError) and number == errno.EIO
    ):
        return None
    return Unreadable(f"reading it failed: {os.strerror(number)}")


def _check_file(handle: int, limits: Limits) -> None:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(found.st_mode), "a device")
        raise NotAFile(f"it is {kind}, not a file")
    if found.st_size == 0:
        raise NotAVideo("the file is empty")
    if found.st_size > limits.max_bytes:
        raise OverLimit(
            f"the file has {found.st_size:,} bytes; at most {limits.max_bytes:,} (--max-bytes)"
        )
    start = os.pread(handle, 64, 0).lstrip(b"\xef\xbb\xbf \t\r\n")
    for sign, kind in _SCRIPTS.items():
        if start.startswith(sign):
            raise NotAVideo(f"it is {kind}, not a video")


_TAGS: Any = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
"""PyAV has had no such option since 19, and says of tags what it can."""


def open_container(name: str) -> InputContainer:
    """A tag that is no valid text is no reason to refuse a video; thousands of streams are."""
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": CONTAINERS,
        "max_streams": str(MAX_STREAMS),
    }
    try:
        found: InputContainer = av.open(f"file:{name}", mode="r", options=options, **_TAGS)
    except av.error.FFmpegError as error:
        if error.errno == errno.ENOMEM:  # FFmpeg says so of too many streams too
            raise OverLimit(
                f"it needs more memory than a worker may use (--memory-limit), or has more than "
                f"{MAX_STREAMS} streams"
            ) from error
        raise _failed_disk(error) or NotAVideo(
            f"no video container that is known ({error.strerror})"
        ) from error
    return found


def media_error(error: av.error.FFmpegError, what: str) -> VideoError:
    """FFmpeg's complaint as a reason; memory that it was refused is no damage of the file."""
    if error.errno == errno.ENOMEM:
        return OverLimit("it needs more memory than a worker may use (--memory-limit)")
    return _failed_disk(error) or DamagedVideo(f"{what}: {error.strerror}")
