"""What goes to a decode worker and what comes back: small records; pixels go by shared memory.

Jobs are pickles, since a worker believes its parent. Replies are not: see `reply.Reply.decode`.
"""

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract import plugins
from extract.decoding.containers import Limits
from extract.decoding.cuts import Cutting
from extract.decoding.info import VideoInfo
from extract.decoding.scanning import Scan
from extract.decoding.stills import Stills
from extract.errors import VideoError
from extract.manifest.segments import Segment, segment_of
from extract.views.protocol import Protocol
from extract.views.sampling import CLIP_FRAMES
from extract.views.view import CLIP_SIZE, DEPTH_POSITIONS

_ALIGN = 64
SCANNED = "frames"
"""Name of the array (n, h, w, RGB) of a job whose plan scans, or asks for stills."""
_LONG = 60
"""A video that is cut may take so many times as long as another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One array that a worker makes of every video, a row per view."""

    name: str
    function: str
    """`module:function`, called in the worker as `function(frames, views)`; see `transforms`."""
    shape: tuple[int, ...]
    """Per view."""
    dtype: str
    pairs: int = 0
    """How many pairs of adjacent frames a view must have; 0: it must be a clip."""
    frames: int = 0
    """How many frames a view of any kind must have, where it need not be a clip."""
    consecutive: bool = False
    """Whether those frames must follow each other, but for what a forged view does to them."""
    options: tuple[tuple[str, Any], ...] = ()
    """What else the function is called with, by name."""
    whole: str = ""
    """Name of the same array of whole frames, where this one is of a part of them."""
    part: str = ""
    """`module:function` that makes frames and views of the part out of these, before `function`."""
    part_options: tuple[tuple[str, Any], ...] = ()

    def load(self) -> Callable[..., Any]:
        """The function itself, importing no more than its own module, or the file it is in."""
        make = _function(self.function, self.options)
        if not self.part:
            return make
        cut = _function(self.part, self.part_options)
        return lambda frames, views: make(*cut(frames, views))

    def suits(self, protocol: Protocol) -> bool:
        """Whether this can be made of the protocol's views."""
        if self.consecutive and protocol.kind not in ("windows", "forged"):
            return False
        if self.frames:
            return protocol.view_frames == self.frames and protocol.kind != "train"
        if self.pairs:
            return protocol.kind == "pairs" and protocol.pairs == self.pairs
        return protocol.view_frames == CLIP_FRAMES and protocol.kind != "pairs"

    @property
    def wants(self) -> str:
        """The protocols that suit it, for people."""
        if self.frames:
            return f"a protocol with {self.frames} frames a view, such as {self.fitting}"
        return f"protocol {self.fitting}" if self.pairs else "protocol val, test-SxC or train-V"

    @property
    def fitting(self) -> str:
        """One of them."""
        if self.frames:
            return f"windows-16x{self.frames}" if self.consecutive else f"frames-{self.frames}@8"
        return f"pairs-{self.pairs}" if self.pairs else "val"

    def nbytes(self, views: int) -> int:
        return views * math.prod(self.shape) * np.dtype(self.dtype).itemsize


def _function(path: str, options: Sequence[tuple[str, Any]]) -> Callable[..., Any]:
    where, _, name = path.rpartition(":")
    own = plugins.is_file(where)
    module = plugins.module_of(where) if own else importlib.import_module(where)
    loaded: Callable[..., Any] = getattr(module, name)
    return partial(loaded, **dict(options)) if options else loaded


CLIPS = Output(
    name="clips",
    function="extract.views.transforms:view_clips",
    shape=(CLIP_FRAMES, CLIP_SIZE, CLIP_SIZE, 3),
    dtype="uint8",
)
DEPTH = Output(
    name="depth",
    function="extract.views.transforms:depth_inputs",
    shape=(len(DEPTH_POSITIONS), 3, 384, 384),
    dtype="float32",
)
FULL_FRAME_DEPTH = Output(
    name="depth",
    function="extract.views.transforms:full_frame_depth_inputs",
    shape=DEPTH.shape,
    dtype=DEPTH.dtype,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is made of every video under one protocol."""

    protocol: str
    outputs: tuple[Output, ...] = (CLIPS,)

    @property
    def views(self) -> int:
        return Protocol.parse(self.protocol).view_count

    @property
    def nbytes(self) -> int:
        """Of a video's arrays in a slot."""
        return sum(_aligned(output.nbytes(self.views)) for output in self.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a pool's workers do with every video of a run."""

    looks: tuple[Look, ...]
    """All that is made of one decode."""
    root: str | None = None
    """Videos outside it, links followed, are refused."""
    seed: int = 0
    decoder: str = "pyav"
    hashed: bool = False
    """Whether the info of every video has its file's digest."""
    cutting: Cutting | None = None
    """Nothing is looked at: it is asked where videos are to be cut."""
    evidence: bool = False
    """Nothing is looked at: it is asked what files say of where they are from."""
    stills: Stills | None = None
    """Nothing is looked at: a few small pictures are wanted, for people."""
    scan: Scan | None = None
    """Nothing is looked at: frames are wanted as they are, lot by lot."""
    limits: Limits = field(default_factory=Limits)

    @property
    def slot_bytes(self) -> int:
        if self.stills is not None:
            return self.stills.nbytes
        if self.scan is not None:
            return self.scan.nbytes(self.limits)
        return sum(look.nbytes for look in self.looks)

    def wanted(self, job: "Job") -> tuple[Look, ...]:
        """Those of the looks that a job asks for."""
        return tuple(look for look in self.looks if job.asks_for(look.protocol))

    def seconds(self, job: "Job") -> float:
        """That a worker may take: one look may take as long as if it were the only one; videos that
        are cut may be long."""
        if self.cutting is not None:
            return self.limits.time_limit * _LONG
        return self.limits.time_limit * max(1, len(self.wanted(job)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One video."""

    index: int
    """The caller's number; comes back with the outcome."""
    id: str
    path: str
    protocols: tuple[str, ...] = ()
    """That are wanted of it; empty: all of the plan's."""
    ahead: tuple[str, ...] = ()
    """Ids of segments of the same file that the same worker will be given next."""
    first: int = 0
    """The first frame of the lot that is wanted, where frames are scanned."""
    besides: tuple[int, ...] = ()
    """Frames that are wanted too, where stills are."""

    @property
    def segment(self) -> Segment | None:
        """The stretch of the file that the id names; None where it is all of it."""
        return segment_of(self.id, self.path)

    def asks_for(self, protocol: str) -> bool:
        return not self.protocols or protocol in self.protocols


Arrays = dict[str, NDArray[np.generic]]
"""Name → (views, …)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What a video came to under one protocol: arrays, or a failure."""

    arrays: Arrays = field(default_factory=dict)
    """Memory that is used again: copy what is kept past the next outcome."""
    hashes: tuple[int, ...] = ()
    lacking: Mapping[str, VideoError] = field(default_factory=dict)
    """Why some arrays could not be made, by name, where others could."""
    failure: VideoError | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What became of a job: an info and what was seen, or a failure."""

    job: Job
    info: VideoInfo | None = None
    seen: Mapping[str, Seen] = field(default_factory=dict)
    """By protocol; empty where nothing could be had of the video."""
    marks: tuple[int, ...] = ()
    """Where it is to be cut, in milliseconds, where that was asked."""
    words: tuple[str, ...] = ()
    """What it says of where it is from, where that was asked."""
    failure: VideoError | None = None
    """Of the video as a whole."""

    @property
    def ok(self) -> bool:
        return self.failure is None

    @property
    def arrays(self) -> Arrays:
        """Of a plan with one look; none where it failed."""
        return next((seen.arrays for seen in self.seen.values()), {})

    @property
    def copied(self) -> "Outcome":
        """The same in memory of its own."""
        seen = {
            protocol: replace(
                one, arrays={name: views.copy() for name, views in one.arrays.items()}
            )
            for protocol, one in self.seen.items()
        }
        return replace(self, seen=seen)


def slot_arrays(buffer: memoryview, looks: Sequence[Look]) -> dict[str, Arrays]:
    """Protocol → the arrays that lie in a slot, one after the other."""
    return dict(_slot_parts(buffer, looks))


def _slot_parts(buffer: memoryview, looks: Sequence[Look]) -> Iterator[tuple[str, Arrays]]:
    offset = 0
    for look in looks:
        arrays: Arrays = {}
        for output in look.outputs:
            size = output.nbytes(look.views)
            flat = np.frombuffer(buffer[offset : offset + size], output.dtype)
            arrays[output.name] = flat.reshape(look.views, *output.shape)
            offset += _aligned(size)
        yield look.protocol, arrays


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
