"""Open one video file, say what it is, and decode chosen frames of it exactly.

The first video stream that has packets and is no cover picture is used. Frames are RGB, turned
upright by the rotation in the file's metadata (multiples of 90 degrees). Everything that can be
wrong with a file ends as a `VideoError`.

Not promised: protection from a decoder that hangs or eats memory. That is `decoding.pool`'s.
"""

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from extract.decoding.containers import (
    Limits,
    media_error,
    open_container,
    open_file,
    read_digest,
)
from extract.decoding.info import VideoInfo
from extract.decoding.packet_source import HeldPackets, Note, PacketSource, RereadPackets
from extract.decoding.packets import PacketTable, decode_frames, every_frame, tabulate
from extract.errors import BadSetting, DamagedVideo, NotAVideo, OverLimit

if TYPE_CHECKING:
    from extract.decoding.packet_source import Packet

Image = NDArray[np.uint8]
DECODERS = ("pyav", "decord")
_COVERED = 0.9


@dataclass(slots=True)
class OpenVideo:
    """A video that is open. `open_video` makes it."""

    info: VideoInfo
    rate: Fraction
    _stream: VideoStream = field(repr=False)
    _table: PacketTable = field(repr=False)
    _limits: Limits = field(repr=False)
    _decord: Any = field(default=None, repr=False)

    def read(self, numbers: Sequence[int]) -> dict[int, Image]:
        """Frame number → frame (H, W, 3), each decoded once, all in one pass."""
        wanted = sorted(set(numbers))
        if wanted and not 0 <= wanted[0] <= wanted[-1] < self.info.frames:
            raise BadSetting(f"Frames {wanted[0]}…{wanted[-1]} of {self.info.frames} asked for.")
        if self._decord is not None:
            return self._read_decord(wanted)
        return dict(self.scan(wanted))

    def scan(self, wanted: Sequence[int]) -> Iterator[tuple[int, Image]]:
        """Frames by number, ascending, one after the other as they are asked for. Nothing else may
        be decoded in between."""
        for number, frame in decode_frames(self._stream.codec_context, self._table, wanted):
            yield number, self._image(frame)

    def every_frame(self) -> Iterator[Image]:
        """A full scan."""
        for frame in every_frame(self._stream.codec_context, self._table):
            yield self._image(frame)

    def small_frames(self, width: int, height: int) -> Iterator[Image]:
        """A full scan of small pictures, not turned."""
        for frame in every_frame(self._stream.codec_context, self._table):
            small = frame.reformat(width=width, height=height, format="rgb24")
            yield np.asarray(small.to_ndarray(), np.uint8)

    @property
    def times(self) -> list[float]:
        """Seconds from the first frame to each."""
        if not self._table.timed or self._stream.time_base is None:
            return [number / float(self.rate) for number in range(self.info.frames)]
        return self._table.seconds(self._stream.time_base)

    def _image(self, frame: VideoFrame) -> Image:
        if frame.is_corrupt:
            raise DamagedVideo("a frame that is needed is broken in the file")
        pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        image_hwc = upright(pixels, self.info.rotation)
        self._check_size(image_hwc)
        return image_hwc

    def _read_decord(self, wanted: Sequence[int]) -> dict[int, Image]:
        import decord

        try:
            frames_thwc = self._decord.get_batch(list(wanted)).asnumpy()
        except (RuntimeError, decord.DECORDError):  # PyAV gives the same frames, or the reason
            self._decord, self.info = None, replace(self.info, decoder="pyav")
            return self.read(wanted)
        images = dict(zip(wanted, frames_thwc, strict=True))
        for image_hwc in images.values():
            self._check_size(image_hwc)
        return images

    def _check_size(self, image_hwc: Image) -> None:
        height, width = image_hwc.shape[:2]
        if (width, height) != (self.info.width, self.info.height):
            raise DamagedVideo(
                f"frames change size from {self.info.width}x{self.info.height} to {width}x{height}"
            )


def upright(frame_hwc: Image, rotation: int) -> Image:
    """Turn a frame by its metadata's counter-clockwise degrees."""
    if rotation % 360 == 0:
        return frame_hwc
    return np.ascontiguousarray(np.rot90(frame_hwc, rotation // 90))


@contextlib.contextmanager
def open_video(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    decoder: str = "pyav",
    hashed: bool = False,
    reread: bool = False,
) -> Iterator[OpenVideo]:
    """Open a video for reading; a file outside `root`, links followed, is refused.

    `hashed`: read the whole file for the digest in its info. `reread`: packets stay in the file
    until they are decoded, so that it may be as long and as large as it likes.
    """
    if decoder not in DECODERS:
        raise BadSetting(f"Decoder {decoder!r} unknown; have: {', '.join(DECODERS)}.")
    limits = limits or Limits()
    if reread:
        limits = replace(limits, max_seconds=math.inf, max_bytes=sys.maxsize)
    handle = open_file(os.fspath(path), None if root is None else os.fspath(root), limits)
    try:
        name, found = f"/dev/fd/{handle}", os.fstat(handle)
        # Before FFmpeg reads: the errors of the disk are told from those of the content.
        content = read_digest(handle) if hashed else ""
        with open_container(name) as container, contextlib.ExitStack() as stack:
            video = _open_stream(container, limits, name if reread else None)
            stack.callback(video._table.source.close)
            video.info = replace(
                video.info,
                file_bytes=found.st_size,
                modified=found.st_mtime_ns,
                digest=content,
            )
            if decoder == "decord" and not reread:
                _take_decord(video, name)
            yield video
    except av.error.FFmpegError as error:
        raise media_error(error, "it cannot be read") from error
    finally:
        os.close(handle)


def _open_stream(container: InputContainer, limits: Limits, reread: str | None) -> OpenVideo:
    """`reread`: the name by which packets are read again; None: they are held."""
    if container.duration is not None and container.duration > limits.max_seconds * av.time_base:
        _too_long(container.duration / av.time_base, limits)
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & stream.disposition.attached_pic
    ]
    if not streams:
        raise NotAVideo("it has no video stream")
    streams = [stream for stream in streams if stream.codec_context is not None]
    if not streams:
        raise NotAVideo("no decoder knows the codec of its video stream")
    stream, packets, seconds = _first_with_packets(container, streams, held=reread is None)
    if seconds > limits.max_seconds:
        _too_long(seconds, limits)
    context = stream.codec_context
    context.thread_type, context.thread_count = "NONE", 1
    context.options = {"max_pixels": str(limits.max_pixels)}
    _check_pixels(context.width, context.height, limits)
    source: PacketSource = (
        HeldPackets(packets) if reread is None else RereadPackets(reread, stream.index)
    )
    table = tabulate(packets, source)
    _check_complete(container, stream, table, seconds)
    count, first = _first_look(stream, table)
    _check_pixels(first.width, first.height, limits)
    rotation = int(round(first.rotation / 90) * 90) % 360
    sides = (first.height, first.width) if rotation % 180 else (first.width, first.height)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    info = VideoInfo(
        frames=count,
        fps=float(rate),
        width=sides[0],
        height=sides[1],
        codec=context.name,
        container=container.format.name,
        rotation=rotation,
        duration=seconds or math.nan,
        pixel_format=context.pix_fmt or "",
        has_audio=bool(container.streams.audio),
        open_gop=table.open_gop,
    )
    return OpenVideo(info, rate, stream, table, limits)


def _first_with_packets(
    container: InputContainer, streams: Sequence[VideoStream], *, held: bool
) -> "tuple[VideoStream, list[Any], float]":
    """The stream used, its packets or notes of them, and the seconds that all streams together
    last."""
    by_stream: dict[int, list[Packet | Note]] = {stream.index: [] for stream in streams}
    start, end = math.inf, -math.inf
    for packet in container.demux():
        if not packet.size:
            continue
        if packet.pts is not None and packet.time_base is not None:
            start = min(start, float(packet.pts * packet.time_base))
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index in by_stream:
            by_stream[packet.stream.index].append(packet if held else Note.of(packet))
    for stream in streams:
        if by_stream[stream.index]:
            return stream, by_stream[stream.index], max(end - start, 0)
    raise DamagedVideo("its video stream has no pictures")


def _check_complete(
    container: InputContainer, stream: VideoStream, table: PacketTable, seconds: float
) -> None:
    """A file that was cut off must not pass for a shorter video."""
    broken = sum(packet.is_corrupt for packet in table.packets)
    if broken:
        raise DamagedVideo(
            f"{broken} of its {max(stream.frames, len(table.packets))} pictures are cut off or "
            f"broken; the file is damaged or was not copied to its end"
        )
    promised = (container.duration or 0) / av.time_base
    last_frame = 1 / float(stream.average_rate or 25)
    if table.timed and seconds + last_frame < promised * _COVERED:
        raise DamagedVideo(
            f"{promised:.2f} s are promised, {seconds:.2f} s are there; the file was not copied to "
            f"its end"
        )


def _first_look(stream: VideoStream, table: PacketTable) -> tuple[int, VideoFrame]:
    """How many frames there are, and one of them: a header alone is not believed."""
    context = stream.codec_context
    if table.timed:
        for _, frame in decode_frames(context, table, [0]):
            return len(table.shown), frame
    count, first = 0, None
    for frame in every_frame(context, table):
        count, first = count + 1, first or frame
    if first is None:
        raise DamagedVideo(f"{len(table.packets)} packets yield no picture")
    return count, first


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise OverLimit(
            f"{width}x{height} is more than {limits.max_pixels:,} pixels (--max-pixels)"
        )


def _too_long(seconds: float, limits: Limits) -> None:
    raise OverLimit(f"it lasts {seconds:.0f} s, longer than {limits.max_seconds:g} (--max-seconds)")


def _take_decord(video: OpenVideo, name: str) -> None:
    """Let decord decode, unless this is a file whose frames it gets wrong or turns by itself.

    It returns other frames on open GOPs, numbers hidden frames, and turns before it converts to
    RGB, which smears colours by half a pixel. PyAV decodes those: the frames stay the same.
    """
    try:
        import decord
    except ImportError as error:
        raise BadSetting("decord is not installed; use --decoder pyav.") from error
    table = video._table
    if table.open_gop or table.trimmed or not table.timed or video.info.rotation:
        return
    try:
        reader = decord.VideoReader(name, num_threads=1)
    except (RuntimeError, decord.DECORDError):
        return
    if len(reader) == video.info.frames:
        video._decord = reader
        video.info = replace(video.info, decoder="decord")
