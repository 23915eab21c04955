"""What a file itself says of where it is from, beside its pictures: content credentials, and traces
of the programs that wrote it.

All of it is somebody's word: traces go with every re-encoding, and can be forged. It is read in a
decode worker, and comes back as lines of words.
"""

import os
import re
from collections.abc import Iterator

import av

from extract.decoding.containers import Limits, open_container, open_file
from extract.decoding.credentials import Read
from extract.decoding.info import VideoInfo
from extract.decoding.picture import open_any
from extract.decoding.video import open_video
from extract.errors import NotAVideo, VideoError, one_line

_ENCODERS = re.compile(rb"x264 - core \d+|x265 \(build \d+\)|Lavc\d[\d.]*")
_HEAD = 2**20
"""Bytes of the file in which encoders leave their names."""
_MOST, _LONGEST = 24, 120


def look(
    path: str, root: str | None, limits: Limits, credentials: Read
) -> tuple[VideoInfo, tuple[str, ...]]:
    """What the file is, and the lines."""
    info = _info(path, root, limits)
    handle = open_file(path, root, limits)
    try:
        lines = [*credentials(handle), _facts(info), *_traces(handle)]
    finally:
        os.close(handle)
    return info, tuple(one_line(line) for line in lines)


def _info(path: str, root: str | None, limits: Limits) -> VideoInfo:
    try:
        with open_video(path, root=root, limits=limits, reread=True) as video:
            return video.info
    except NotAVideo:
        with open_any(path, root=root, limits=limits) as picture:
            return picture.info


def _facts(info: VideoInfo) -> str:
    if info.frames == 1:
        return f"file: {info.codec}, {info.width}x{info.height}, {info.file_bytes:,} bytes"
    rate = 8 * info.file_bytes / info.duration / 1000 if info.duration > 0 else 0
    sound = "with sound" if info.has_audio else "without sound"
    return (
        f"file: {info.codec} {info.pixel_format} in {info.container.split(',')[0]}, {info.width}x"
        f"{info.height}, {info.fps:.4g} pictures a second, {info.duration:.2f} s, {rate:,.0f} "
        f"kbit/s, {sound}"
    )


def _traces(handle: int) -> Iterator[str]:
    """Tags of file and streams, and the name that an encoder left among the pictures."""
    tags: dict[str, str] = {}
    try:
        with open_container(f"/dev/fd/{handle}") as container:
            for place in (container, *container.streams):
                tags |= {str(name): str(value) for name, value in place.metadata.items()}
    except (VideoError, av.error.FFmpegError):  # a picture
        pass
    listed = [f"{name}={value[:_LONGEST]}" for name, value in list(tags.items())[:_MOST]]
    if listed:
        yield f"its tags say: {'; '.join(listed)}"
    encoder = _ENCODERS.search(os.pread(handle, _HEAD, 0))
    if encoder is not None:
        yield f"its encoder calls itself: {encoder[0].decode('ascii').strip()}"
