"""Ways to break a video file, each a function of bytes and a random generator."""

import itertools
import random
import struct
from collections.abc import Callable, Mapping, Sequence

Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
"""(content, generator, other clips) → content."""

EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf", b"mvex")
_TABLES = (
    b"stco", b"co64", b"stsz", b"stts", b"ctts", b"stsc", b"stss", b"elst", b"stsd", b"tkhd",
    b"mvhd", b"mdhd", b"hdlr", b"avcC", b"hvcC", b"dref",
)  # fmt: skip
_MOST = 4 * 2**20
"""Bytes of a file; repeated parts would grow without end."""


def flip_bits(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """A few bits anywhere, or in the first kilobyte, where headers are."""
    broken = bytearray(data)
    end = len(broken) if rng.random() < 0.5 else min(len(broken), 1024)
    for _bit in range(rng.choice((1, 2, 8, 64))):
        broken[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(broken)


def cut(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """The end is missing, or the beginning is."""
    place = rng.randrange(1, len(data))
    return data[:place] if rng.random() < 0.8 else data[place:]


def overwrite(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """A stretch of zeros, of ones or of noise."""
    start = rng.randrange(len(data))
    length = min(len(data) - start, rng.choice((1, 4, 64, 1024, len(data) // 3)))
    filler = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return data[:start] + filler + data[start + length :]


def extreme_number(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """A 1, 2, 4 or 8 byte number that is as large or as small as can be."""
    broken = bytearray(data)
    end = len(broken) if rng.random() < 0.3 else min(len(broken), 1024)
    for _number in range(rng.choice((1, 1, 3))):
        size = rng.choice((1, 2, 4, 4, 8))
        place = rng.randrange(max(1, end - size))
        value = rng.choice(EXTREMES) % 256**size
        broken[place : place + size] = value.to_bytes(size, rng.choice(("big", "little")))
    return bytes(broken)


def remove_or_repeat(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """A stretch is not there, or there many times."""
    start = rng.randrange(len(data))
    part = data[start : start + rng.choice((1, 16, 188, 512, 4096))]
    times = rng.choice((0, 2, 3, 50))
    return (data[:start] + part * times + data[start + len(part) :])[:_MOST]


def splice(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One file's beginning on another's end, or one file inside another."""
    other = rng.choice(others)
    place, from_there = rng.randrange(1, len(data)), rng.randrange(1, len(other))
    if rng.random() < 0.6:
        header = rng.choice((16, 64, 512, place))
        return data[:header] + other[from_there:]
    return data[:place] + other + data[place:]


def shuffle_atoms(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """MP4 boxes in another order, twice, away, inside each other, or with a wrong size."""
    path, boxes = _some_level(data, rng)
    if len(boxes) < 2:
        return extreme_number(data, rng, others)
    kind = rng.randrange(5)
    place = rng.randrange(len(boxes))
    if kind == 0:
        rng.shuffle(boxes)
    elif kind == 1:
        boxes.insert(rng.randrange(len(boxes)), boxes[place])
    elif kind == 2:
        del boxes[place]
    elif kind == 3:
        wrong = rng.choice((0, 1, 7, 8, len(boxes[place]) * 2, 0x7FFFFFFF, 0xFFFFFFFF))
        boxes[place] = struct.pack(">I", wrong) + boxes[place][4:]
    else:
        boxes[place] = _nested(boxes[place], rng.choice((2, 10, 500)))
    return _rebuilt(data, path, b"".join(boxes))[:_MOST]


def wrong_tables(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Offsets, sizes, times and counts in an MP4's tables that lie."""
    places = [p for name in _TABLES for p in _all_of(data, name)]
    if not places:
        return extreme_number(data, rng, others)
    broken = bytearray(data)
    for _ in range(rng.choice((1, 2, 6))):
        place = rng.choice(places) + 4 + 4 * rng.choice((0, 1, 1, 2, 3, 5, 8))
        value = rng.choice((*EXTREMES, len(data), len(data) - 1, rng.getrandbits(32)))
        broken[place : place + 4] = struct.pack(">I", value)
    return bytes(broken)


def many_streams(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """An MP4 whose tracks are there a thousand times; other files get their header repeated."""
    times = rng.choice((2, 30, 1000))
    if any(box[4:8] == b"moov" for _, box in _boxes(data)):
        return more_tracks(data, times)
    return (data[: rng.choice((64, 188, 376))] * times + data)[:_MOST]


def more_tracks(data: bytes, times: int) -> bytes:
    """An MP4 with each of its tracks so many times, as far as there is room."""
    for start, moov in _boxes(data):
        if moov[4:8] == b"moov":
            tracks = b"".join(box for _, box in _boxes(moov, 8) if box[4:8] == b"trak")
            rest = b"".join(box for _, box in _boxes(moov, 8) if box[4:8] != b"trak")
            times = min(times, _MOST // max(1, len(tracks)))
            return _rebuilt(data, [(start, len(moov))], rest + tracks * times)
    return data


def outside_reference(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """An MP4 that says its pictures lie in another file."""
    places = _all_of(data, b"dref")
    if not places:
        return splice(data, rng, others)
    place = places[0]
    size = struct.unpack(">I", data[place - 4 : place])[0]
    name = rng.choice((b"decoy.mp4", b"file:decoy.mp4", b"../outside/decoy.mp4")) + b"\0"
    kind = rng.choice((b"url ", b"alis", b"rsrc"))
    entry = kind + bytes(4) + (name if kind == b"url " else _alias(name))
    entry = struct.pack(">I", len(entry) + 4) + entry
    dref = b"dref" + bytes(4) + struct.pack(">I", 1) + entry
    dref = struct.pack(">I", len(dref) + 4) + dref
    return _grown(data, place - 4, size, dref)


def script(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """A playlist or script that names other files, sockets and protocols."""
    target = rng.choice(TARGETS)
    text = rng.choice(SCRIPTS).replace(b"TARGET", target)
    disguise = rng.randrange(6)
    if disguise == 1:
        return b"\xef\xbb\xbf" + text
    if disguise == 2:
        return rng.choice((b" ", b"\n", b"\r\n\t", b"\0")) * rng.randrange(1, 70) + text
    if disguise == 3:
        return data[: rng.choice((4, 12, 32, 256))] + text
    if disguise == 4:
        return text + data
    if disguise == 5:
        return flip_bits(text, rng, ())
    return text


TARGETS: list[bytes] = [b"decoy.mp4", b"file:decoy.mp4", b"../outside/decoy.mp4"]
"""What scripts name; whoever runs them adds absolute paths and the address of a listener."""
SCRIPTS = (
    b"ffconcat version 1.0\nfile TARGET\n",
    b"ffconcat version 1.0\nfile 'TARGET'\nduration 1\nfile TARGET\n",
    b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nTARGET\n#EXT-X-ENDLIST\n",
    b'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="TARGET"\n#EXTINF:1,\nTARGET\n',
    b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nTARGET\n",
    b"concat:TARGET|TARGET\n",
    b"<?xml version='1.0'?><MPD><Period><AdaptationSet><Representation><BaseURL>TARGET</BaseURL>"
    b"</Representation></AdaptationSet></Period></MPD>",
    b"<SmoothStreamingMedia><StreamIndex Url='TARGET'/></SmoothStreamingMedia>",
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=control:TARGET\n",
    b"[Reference]\nRef1=TARGET\n",
    b"<ASX><ENTRY><REF HREF='TARGET'/></ENTRY></ASX>",
    b"WEBVTT\n\n00:00.000 --> 00:01.000\nTARGET\n",
    b"RIFF\0\0\0\0ACONTARGET",
    b"movie=TARGET[out0]",
    b"subfile,,start,0,end,100,,:TARGET\n",
)

MUTATIONS: Mapping[str, Mutation] = {
    mutation.__name__: mutation
    for mutation in (
        flip_bits, cut, overwrite, extreme_number, remove_or_repeat, splice, shuffle_atoms,
        wrong_tables, many_streams, outside_reference, script,
    )
}  # fmt: skip


def _boxes(data: bytes, start: int = 0) -> list[tuple[int, bytes]]:
    """An MP4's boxes one after the other, where they are; ends at the first that is none."""
    found = []
    while start + 8 <= len(data):
        size = struct.unpack(">I", data[start : start + 4])[0]
        if size < 8 or start + size > len(data):
            break
        found.append((start, data[start : start + size]))
        start += size
    return found


def _some_level(data: bytes, rng: random.Random) -> tuple[list[tuple[int, int]], list[bytes]]:
    """Boxes of the file, or of a box in it: the way there, and their contents."""
    path: list[tuple[int, int]] = []
    level = _boxes(data)
    while rng.random() < 0.75:
        parents = [(start, box) for start, box in level if box[4:8] in _PARENTS]
        if not parents:
            break
        start, box = rng.choice(parents)
        path.append((start, len(box)))
        level = [(start + 8 + below, inner) for below, inner in _boxes(box[8:])]
    return path, [box for _, box in level]


def _rebuilt(data: bytes, path: Sequence[tuple[int, int]], content: bytes) -> bytes:
    """The file with another content in the innermost box of a path, and sizes that agree."""
    if not path:
        return content
    start, size = path[-1]
    head = data[start + 4 : start + 8]
    return _grown(data, start, size, struct.pack(">I", len(content) + 8) + head + content)


def _grown(data: bytes, start: int, size: int, box: bytes) -> bytes:
    """Another box in a box's place; all that it lies in grow along."""
    broken = bytearray(data)
    for outer, whole in _around(data, start):
        broken[outer : outer + 4] = struct.pack(">I", (whole + len(box) - size) % 2**32)
    broken[start : start + size] = box
    return bytes(broken)


def _around(
    data: bytes, place: int, start: int = 0, end: int | None = None
) -> list[tuple[int, int]]:
    """The boxes that a place lies in, outermost first."""
    for below, box in _boxes(data[:end], start):
        inside = below < place < below + len(box)
        if inside and box[4:8] in _PARENTS:
            return [(below, len(box)), *_around(data, place, below + 8, below + len(box))]
    return []


def _nested(box: bytes, times: int) -> bytes:
    for _ in itertools.repeat(None, times):
        box = struct.pack(">I", len(box) + 8) + b"moov" + box
    return box


def _all_of(data: bytes, name: bytes) -> list[int]:
    found, place = [], data.find(name)
    while place >= 4 and place != -1:
        found.append(place)
        place = data.find(name, place + 4)
    return found


def _alias(name: bytes) -> bytes:
    """A Macintosh alias that leads to a file of that name."""
    path = name.rstrip(b"\0")
    record = bytes(142) + struct.pack(">HH", 18, len(path)) + path + bytes(len(path) % 2)
    record += struct.pack(">Hh", 0, -1)
    return bytes(2) + struct.pack(">H", len(record)) + record
