"""What a worker says of a job: a file, a word on each of its protocols, reasons.

Plain JSON: whoever gets hold of a decoder in its worker must not get to say what the pool's process
runs.
"""

import json
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.decoding.info import VideoInfo
from extract.decoding.job import SCANNED, Arrays, Job, Outcome, Plan, Seen, slot_arrays
from extract.errors import VIDEO_ERRORS, VideoError

_ROWS = {int: tuple[int, ...], str: tuple[str, ...]}
"""What a list of only these becomes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a worker says of a video under one protocol."""

    protocol: str
    error: str = ""
    """Name of the VideoError's class, empty when all is well."""
    reason: str = ""
    hashes: tuple[int, ...] = ()
    """Of a few frames, where any were decoded; see `extract.views.frame_hash`."""
    lacking: tuple[str, ...] = ()
    """Outputs that could not be made of it, where others could."""
    reasons: tuple[str, ...] = ()
    """Why, one by one."""

    def failure(self) -> VideoError | None:
        return VIDEO_ERRORS[self.error](self.reason) if self.error else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a worker says of a job; the arrays lie in the job's slot."""

    info: VideoInfo | None = None
    said: tuple[Said, ...] = ()
    """A word on each look that was asked for."""
    marks: tuple[int, ...] = ()
    """Where the video is to be cut, in milliseconds, where that was asked."""
    words: tuple[str, ...] = ()
    """What the file says of where it is from, where that was asked."""
    error: str = ""
    """Name of the VideoError's class where nothing could be had of the video; else empty."""
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
            found = json.loads(data)
            info, said = found.pop("info"), found.pop("said")
            reply = Reply(
                **_checked(Reply, found),
                info=None if info is None else VideoInfo(**_checked(VideoInfo, info)),
                said=tuple(Said(**_checked(Said, each)) for each in said),
            )
            reply.failure()  # of a kind that there is
            for each in reply.said:
                each.failure()
        except (AttributeError, KeyError, RecursionError, TypeError) as error:
            raise ValueError(f"no reply ({error})") from error
        if reply.info is None and not reply.error:
            raise ValueError("no reply (neither a video nor a failure)")
        return reply

    def failure(self) -> VideoError | None:
        return VIDEO_ERRORS[self.error](self.reason) if self.error else None


def outcome_of(job: Job, reply: Reply, slot: memoryview, plan: Plan) -> Outcome:
    """A worker's answer with the arrays that it left in the slot; ValueError where it is no answer
    to the job."""
    failure = reply.failure()
    if failure is not None:
        return Outcome(job=job, failure=failure)
    if plan.cutting is not None:
        if len(reply.marks) < 2 or any(not a < b for a, b in pairwise(reply.marks)):
            raise ValueError("no reply (marks that do not ascend)")
        return Outcome(job=job, info=reply.info, marks=reply.marks)
    if plan.evidence:
        return Outcome(job=job, info=reply.info, words=reply.words)
    if plan.scan is not None or plan.stills is not None:
        frames = _frames(job, reply, slot, plan)
        seen = {SCANNED: Seen(arrays={SCANNED: frames})}
        return Outcome(job=job, info=reply.info, seen=seen)
    if [said.protocol for said in reply.said] != [look.protocol for look in plan.wanted(job)]:
        raise ValueError("no reply (of other protocols than were asked for)")
    arrays = slot_arrays(slot, plan.looks)
    seen = {said.protocol: _seen(said, arrays[said.protocol]) for said in reply.said}
    return Outcome(job=job, info=reply.info, seen=seen)


def _frames(job: Job, reply: Reply, slot: memoryview, plan: Plan) -> NDArray[np.uint8]:
    """(n, h, w, RGB) as they lie in the slot."""
    assert reply.info is not None
    if plan.stills is not None:
        return plan.stills.array(reply.info, job.besides, slot)
    assert plan.scan is not None
    return plan.scan.array(reply.info, job.first, slot)


def _seen(said: Said, arrays: Arrays) -> Seen:
    if said.error:
        return Seen(hashes=said.hashes, failure=said.failure())
    if len(said.lacking) != len(said.reasons) or not set(said.lacking) <= set(arrays):
        raise ValueError("no reply (of other arrays than were asked for)")
    reasons = zip(said.lacking, said.reasons, strict=True)
    lacking = {name: VideoError(reason) for name, reason in reasons}
    made = {name: array for name, array in arrays.items() if name not in lacking}
    return Seen(arrays=made, hashes=said.hashes, lacking=lacking)


def _checked(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Values of the very types that a record's fields have."""
    types = {field.name: field.type for field in fields(kind)}
    for name, value in values.items():
        kinds = {type(each) for each in value} if type(value) is list else {None}
        if any(kinds <= {kind} and types[name] == rows for kind, rows in _ROWS.items()):
            values[name] = tuple(value)
        elif type(value) is not types[name]:
            raise ValueError(f"no reply ({name} is {value!r})")
    return values
