"""What goes to a decode worker and what comes back: small records; pixels go by shared memory.

Jobs are pickles, since a worker believes its parent. Replies are not: see `Reply.decode`.
"""

import importlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract import plugins
from extract.decoding.containers import Limits
from extract.decoding.video import VideoInfo
from extract.errors import VIDEO_ERRORS, VideoError
from extract.views.protocol import Protocol
from extract.views.sampling import CLIP_FRAMES
from extract.views.view import CLIP_SIZE, DEPTH_POSITIONS

_ALIGN = 64


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
    options: tuple[tuple[str, Any], ...] = ()
    """What else the function is called with, by name."""

    def load(self) -> Callable[..., Any]:
        """The function itself, importing no more than its own module, or the file it is in."""
        where, _, name = self.function.rpartition(":")
        own = plugins.is_file(where)
        module = plugins.module_of(where) if own else importlib.import_module(where)
        loaded: Callable[..., Any] = getattr(module, name)
        return partial(loaded, **dict(self.options)) if self.options else loaded

    def suits(self, protocol: Protocol) -> bool:
        """Whether this can be made of the protocol's views."""
        if self.frames:
            return protocol.view_frames == self.frames and protocol.kind != "train"
        if self.pairs:
            return protocol.kind == "pairs" and protocol.pairs == self.pairs
        return protocol.view_frames == CLIP_FRAMES and protocol.kind != "pairs"

    @property
    def wants(self) -> str:
        """The protocols that suit it, for people."""
        if self.frames:
            return f"a protocol with {self.frames} frames a view, such as frames-{self.frames}@8"
        return f"protocol pairs-{self.pairs}" if self.pairs else "protocol val, test-SxC or train-V"

    def nbytes(self, views: int) -> int:
        return views * math.prod(self.shape) * np.dtype(self.dtype).itemsize


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
class Plan:
    """What a pool's workers do with every video of a run."""

    protocol: str
    outputs: tuple[Output, ...] = (CLIPS,)
    root: str | None = None
    """Videos outside it, links followed, are refused."""
    seed: int = 0
    decoder: str = "pyav"
    hashed: bool = False
    """Whether the info of every video has its file's digest."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One video."""

    index: int
    """The caller's number; comes back with the outcome."""
    id: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a worker says of a job; the arrays lie in the job's slot."""

    info: VideoInfo | None = None
    error: str = ""
    """Name of the VideoError's class, empty when all is well."""
    reason: str = ""
    resident: int = 0
    """Bytes of memory the worker held at the end."""

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(data: bytes) -> "Reply":
        """ValueError where it is no reply.

        Plain JSON and not a pickle: whoever gets hold of a decoder in its worker must not get to
        say what the pool's process runs.
        """
        try:
            said = json.loads(data)
            info = said.pop("info")
            reply = Reply(
                **_checked(Reply, said),
                info=None if info is None else VideoInfo(**_checked(VideoInfo, info)),
            )
            reply.failure()  # of a kind that there is
        except (AttributeError, KeyError, RecursionError, TypeError) as error:
            raise ValueError(f"no reply ({error})") from error
        if reply.info is None and not reply.error:
            raise ValueError("no reply (neither a video nor a failure)")
        return reply

    def failure(self) -> VideoError | None:
        return VIDEO_ERRORS[self.error](self.reason) if self.error else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What became of a job: an info and arrays, or a failure."""

    job: Job
    info: VideoInfo | None
    arrays: dict[str, NDArray[np.generic]]
    """Name → (views, …). Memory that is used again: copy what is kept past the next outcome."""
    failure: VideoError | None

    @property
    def ok(self) -> bool:
        return self.failure is None


def _checked(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Values of the very types that a record's fields have."""
    types = {field.name: field.type for field in fields(kind)}
    for name, value in values.items():
        whole = type(value) is list and all(type(each) is int for each in value)
        if whole and types[name] == tuple[int, ...]:
            values[name] = tuple(value)
        elif type(value) is not types[name]:
            raise ValueError(f"no reply ({name} is {value!r})")
    return values


def slot_bytes(outputs: Sequence[Output], views: int) -> int:
    return sum(_aligned(output.nbytes(views)) for output in outputs)


def slot_arrays(
    buffer: memoryview, outputs: Sequence[Output], views: int
) -> dict[str, NDArray[np.generic]]:
    """The arrays that lie in a slot, one after the other."""
    arrays: dict[str, NDArray[np.generic]] = {}
    offset = 0
    for output in outputs:
        size = output.nbytes(views)
        flat = np.frombuffer(buffer[offset : offset + size], output.dtype)
        arrays[output.name] = flat.reshape(views, *output.shape)
        offset += _aligned(size)
    return arrays


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
