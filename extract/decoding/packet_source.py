"""Where compressed packets are while a video is decoded: all in memory, or in the file.

Files that are cut into segments may be hours long. Of their packets only notes are kept, and each
is read from the file again when its turn comes, in one pass.
"""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from extract.decoding.containers import open_container
from extract.errors import DamagedVideo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from av.container import InputContainer
    from av.packet import Packet as AnyPacket

    Packet = AnyPacket[Any]

_RECENT = 4096
"""Packets since the last keyframe that are kept: what comes next may need them again."""


@dataclass(frozen=True, slots=True)
class Note:
    """What has to be known of a packet before it is decoded."""

    pts: int | None
    is_keyframe: bool
    is_discard: bool
    is_corrupt: bool

    @staticmethod
    def of(packet: "Packet") -> "Note":
        return Note(packet.pts, packet.is_keyframe, packet.is_discard, packet.is_corrupt)


class PacketSource(Protocol):
    """The packets of one stream, by their position."""

    def between(self, first: int, last: int) -> "Iterator[Packet]":
        """Both included."""

    def close(self) -> None:
        """Nothing is asked for any more."""


class HeldPackets:
    """All in memory."""

    def __init__(self, packets: "Sequence[Packet]") -> None:
        self._packets = packets

    def between(self, first: int, last: int) -> "Iterator[Packet]":
        return iter(self._packets[first : last + 1])

    def close(self) -> None:
        """They go with the video."""


class RereadPackets:
    """Read once more, in order; going back further than the last keyframe begins anew."""

    def __init__(self, name: str, stream: int) -> None:
        self._name = name
        self._stream = stream
        self._container: InputContainer | None = None
        self._packets: Iterator[Packet] = iter(())
        self._recent: deque[Packet] = deque(maxlen=_RECENT)
        self._next = 0

    def between(self, first: int, last: int) -> "Iterator[Packet]":
        for position in range(first, last + 1):
            yield self._at(position)

    def close(self) -> None:
        self._recent.clear()
        self._packets = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def _at(self, position: int) -> "Packet":
        if self._container is None or position < self._next - len(self._recent):
            self._begin()
        while self._next <= position:
            packet = next(self._packets, None)
            if packet is None:
                raise DamagedVideo("the file became shorter while it was read")
            if packet.is_keyframe:
                self._recent.clear()
            self._recent.append(packet)
            self._next += 1
        return self._recent[position - self._next]

    def _begin(self) -> None:
        self.close()
        self._container = open_container(self._name)
        stream = self._container.streams[self._stream]
        self._packets = (packet for packet in self._container.demux(stream) if packet.size)
        self._next = 0
