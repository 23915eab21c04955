"""The process that decodes: takes jobs from a socket, leaves arrays in shared memory.

    python -m extract.decoding.worker SOCKET MEMORY BYTES

It limits its own memory, kills itself when a job takes far too long (so that none outlives a
killed parent), and ends when its socket is closed. It never imports torch unless an output's
function does. Only the pool starts it.
"""

import contextlib
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from extract.decoding.frames import read_looks
from extract.decoding.job import Arrays, Job, Look, Plan, slot_arrays
from extract.decoding.reply import Reply, Said
from extract.decoding.video import Image, VideoInfo, open_video
from extract.errors import OverLimit, VideoError
from extract.views.frame_hash import video_hashes
from extract.views.protocol import Protocol
from extract.views.view import View

READY = b"ready"
GRACE = 10.0
LONGEST_REASON = 2000
Makers = Mapping[str, Mapping[str, Callable[..., Any]]]
"""By protocol and output."""


def main(arguments: Sequence[str]) -> None:
    socket, memory, size = map(int, arguments)
    connection = Connection(socket)
    buffer = mmap.mmap(memory, size)
    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)
    plan: Plan = connection.recv()
    makers = load_makers(plan)
    _limit_memory(plan.limits.memory_limit)
    connection.send_bytes(READY)
    while True:
        try:
            job, slot = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        signal.setitimer(signal.ITIMER_REAL, plan.seconds(job) + GRACE)
        reply = work(plan, makers, job, memoryview(buffer)[slot:])
        signal.setitimer(signal.ITIMER_REAL, 0)
        with contextlib.suppress(BrokenPipeError):
            connection.send_bytes(reply.encode())


def load_makers(plan: Plan) -> Makers:
    """The functions that make a plan's outputs."""
    return {
        look.protocol: {output.name: output.load() for output in look.outputs}
        for look in plan.looks
    }


def work(plan: Plan, makers: Makers, job: Job, slot: memoryview) -> Reply:
    """Decode one video into its slot. Whatever goes wrong becomes a reason.

    What cannot be decoded for all looks together is decoded for each by itself: a frame that is
    broken, or memory that is short, fails the looks that need it and no others.
    """
    looks = plan.wanted(job)
    arrays = slot_arrays(slot[: plan.slot_bytes], plan.looks)
    info, said = _looked(plan, looks, makers, arrays, job)
    if info is None and len(looks) > 1:
        apart = [_looked(plan, [look], makers, arrays, job) for look in looks]
        info = next((found for found, _ in apart if found is not None), None)
        said = [one for _, found in apart for one in found]
    resident = resident_bytes()
    if all(one.error for one in said):
        return Reply(error=said[0].error, reason=said[0].reason, resident=resident)
    return Reply(info=info, said=tuple(said), resident=resident)


def _looked(
    plan: Plan, looks: Sequence[Look], makers: Makers, arrays: Mapping[str, Arrays], job: Job
) -> tuple[VideoInfo | None, list[Said]]:
    """What the file is and a word on each look; no file where it could not be decoded for them."""
    try:
        with open_video(
            job.path, root=plan.root, limits=plan.limits, decoder=plan.decoder, hashed=plan.hashed
        ) as video:
            info = video.info
            views = [
                Protocol.parse(look.protocol).views(
                    job.id, info.frames, fps=info.fps, seed=plan.seed
                )
                for look in looks
            ]
            frames = read_looks(video, views)
    except Exception as error:
        return None, [_failed(look, error, plan) for look in looks]
    said = []
    for look, its_views in zip(looks, views, strict=True):
        its_frames = frames.pop(0)  # not kept for longer than they are looked at
        try:
            _make(makers[look.protocol], arrays[look.protocol], its_frames, its_views)
            hashes = video_hashes(its_frames, its_views)
            said.append(Said(protocol=look.protocol, hashes=hashes))
        except Exception as error:
            said.append(_failed(look, error, plan))
    return info, said


def _make(
    makers: Mapping[str, Callable[..., Any]],
    arrays: Arrays,
    frames: Mapping[int, Image],
    views: Sequence[View],
) -> None:
    for name, make in makers.items():
        made = make(frames, views)
        if made.shape != arrays[name].shape or made.dtype != arrays[name].dtype:
            raise VideoError(
                f"output {name!r} is {made.dtype} {made.shape}, "
                f"{arrays[name].dtype} {arrays[name].shape} was announced"
            )
        np.copyto(arrays[name], made)


def _failed(look: Look, error: Exception, plan: Plan) -> Said:
    """An error as a reason; a bug is one video's failure, and is named as what it is."""
    if isinstance(error, MemoryError):
        error = OverLimit(f"it needs more memory than {plan.limits.memory_limit:,} bytes")
    elif isinstance(error, cv2.error):
        lacking = error.code == cv2.Error.STS_NO_MEM
        error = OverLimit("it needs too much memory") if lacking else VideoError(str(error))
    elif not isinstance(error, VideoError):
        error = VideoError(f"unexpected {type(error).__name__}: {error}")
    return Said(
        protocol=look.protocol, error=type(error).__name__, reason=str(error)[:LONGEST_REASON]
    )


def _limit_memory(extra: int) -> None:
    """A limit on address space: allocations beyond it fail, and the video with them."""
    limit = _statm(0) + extra
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def resident_bytes() -> int:
    return _statm(1)


def _statm(field: int) -> int:
    """Linux tells; elsewhere the peak stands in for both."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[field]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(sys.argv[1:])
