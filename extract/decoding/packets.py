"""The compressed packets of one video stream, and the shortest decode that yields chosen frames.

Frame k is the k-th picture in order of time, as a full scan shows them. A decode starts at the
last keyframe that is shown no later than the frame wanted (pictures that lead an open GOP's
keyframe need the GOP before), and pictures that no other picture refers to are skipped unless
wanted. Both leave the frames what a full scan gives, bit for bit; should a decoder keep a wanted
frame back nevertheless, the whole stream is decoded in order instead. Streams whose packets do
not say when they are shown are counted and read by decoding everything.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from extract.decoding.containers import media_error
from extract.decoding.packet_source import Note, PacketSource
from extract.errors import DamagedVideo

if TYPE_CHECKING:
    from extract.decoding.packet_source import Packet


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketTable:
    """The packets in decoding order, and which of them is which frame."""

    packets: "tuple[Packet | Note, ...]"
    shown: tuple[int, ...]
    """Frame number → position of its packet. Empty when the packets do not say."""
    open_gop: bool
    """Some pictures are decoded after a keyframe and shown before it."""
    trimmed: bool
    """An edit list hides pictures at the ends."""
    source: PacketSource
    """Of the packets themselves."""

    @property
    def timed(self) -> bool:
        return bool(self.shown)

    def seconds(self, base: Fraction) -> list[float]:
        """From the first frame to each, where packets say when they are shown."""
        times = [self.packets[position].pts or 0 for position in self.shown]
        return [float((time - times[0]) * base) for time in times]

    def __repr__(self) -> str:
        return f"PacketTable({len(self.packets)} packets, {len(self.shown)} frames)"


def tabulate(packets: "Sequence[Packet | Note]", source: PacketSource) -> PacketTable:
    """Order the packets of one stream by the time they are shown."""
    visible = [position for position, packet in enumerate(packets) if not packet.is_discard]
    times = [packets[position].pts for position in visible]
    known = [time for time in times if time is not None]
    timed = len(known) == len(times) == len(set(known)) and bool(known)
    order = sorted(zip(known, visible, strict=True)) if timed else []
    return PacketTable(
        packets=tuple(packets),
        shown=tuple(position for _, position in order),
        open_gop=_has_open_gop(packets),
        trimmed=len(visible) < len(packets),
        source=source,
    )


def _has_open_gop(packets: "Sequence[Packet | Note]") -> bool:
    key: int | None = None
    for packet in packets:
        if packet.is_keyframe:
            key = packet.pts
        elif key is not None and packet.pts is not None and packet.pts < key:
            return True
    return False


def decode_frames(
    context: VideoCodecContext, table: PacketTable, wanted: Sequence[int]
) -> Iterator[tuple[int, VideoFrame]]:
    """The frames of those numbers. Each comes once; which one comes when is the decoder's."""
    missing = set(wanted)
    if table.timed:
        for number, frame in _sparse(context, table, sorted(missing)):
            missing.discard(number)
            yield number, frame
    if missing:
        for number, frame in enumerate(every_frame(context, table)):
            if number in missing:
                missing.discard(number)
                yield number, frame
    if missing:
        first = min(missing)
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DamagedVideo(f"frame {first}{more} of {len(table.shown)} cannot be decoded")


def every_frame(context: VideoCodecContext, table: PacketTable) -> Iterator[VideoFrame]:
    """A full scan, in order of time."""
    context.flush_buffers()
    context.skip_frame = "DEFAULT"
    for packet in table.source.between(0, len(table.packets) - 1):
        yield from _decode(context, packet)
    yield from _decode(context, None)


def _sparse(
    context: VideoCodecContext, table: PacketTable, wanted: Sequence[int]
) -> Iterator[tuple[int, VideoFrame]]:
    positions = {table.shown[number]: number for number in wanted}
    times = {table.packets[position].pts: number for position, number in positions.items()}
    for first, last in _stretches(table, sorted(positions)):
        context.flush_buffers()
        packets = table.source.between(first, last)
        for position, packet in enumerate(packets, first):
            context.skip_frame = "DEFAULT" if position in positions else "NONREF"
            for frame in _decode(context, packet):
                if frame.pts in times:
                    yield times.pop(frame.pts), frame
        context.skip_frame = "DEFAULT"
        for frame in _decode(context, None):
            if frame.pts in times:
                yield times.pop(frame.pts), frame


def _stretches(table: PacketTable, positions: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of packets to decode, first and last; runs that touch are one."""
    keys = [place for place, packet in enumerate(table.packets) if packet.is_keyframe]
    runs: list[tuple[int, int]] = []
    for position in positions:
        start = _start(table, keys, position)
        if runs and start <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], position)
        else:
            runs.append((start, position))
    assert all(before[1] < after[0] for before, after in pairwise(runs))
    return runs


def _start(table: PacketTable, keys: Sequence[int], position: int) -> int:
    """The last keyframe at or before a packet that is also shown no later."""
    time = table.packets[position].pts
    for key in reversed(keys):
        shown = table.packets[key].pts
        if key <= position and (shown is None or time is None or shown <= time):
            return key
    return 0


def _decode(context: VideoCodecContext, packet: "Packet | None") -> list[VideoFrame]:
    try:
        return context.decode(packet)
    except av.error.EOFError:
        return []
    except av.error.FFmpegError as error:
        raise media_error(error, f"the {context.name} decoder stops") from error
