"""Folders that are looked through for videos, and files that are looked at to see what they are."""

import os
from collections.abc import Iterator
from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov"}
    | {".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
)
PICTURE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
_SNIFFED = 4096


def scan_videos(folder: str) -> Iterator[str]:
    """Everything below a folder that is named like a video, links to folders not followed.

    What is hidden (its name begins with a dot) is passed by. A folder that cannot be looked into
    comes itself, so that it has a row that says why.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError:
        yield folder
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if is_named_like_a_video(entry.name):
            yield entry.path
        if entry.is_dir(follow_symlinks=False):
            yield from scan_videos(entry.path)


def is_named_like_a_video(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES  # noqa: PTH122


def is_text(path: Path) -> bool:
    """Whether a file could be a list: a video's first bytes are no text."""
    with path.open("rb") as file:
        start = file.read(_SNIFFED)
    if b"\0" in start:
        return False
    controls = sum(byte < 32 and byte not in b"\t\r\n\f\x1b" for byte in start)
    return controls <= len(start) // 100
