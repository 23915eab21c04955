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
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from extract.decoding.frames import read_frames
from extract.decoding.job import Job, Plan, Reply, slot_arrays, slot_bytes
from extract.decoding.video import open_video
from extract.errors import OverLimit, VideoError
from extract.views.frame_hash import video_hashes
from extract.views.protocol import Protocol

READY = b"ready"
GRACE = 10.0
LONGEST_REASON = 2000
MAKERS = dict[str, Callable[..., Any]]


def main(arguments: Sequence[str]) -> None:
    socket, memory, size = map(int, arguments)
    connection = Connection(socket)
    buffer = mmap.mmap(memory, size)
    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)
    plan: Plan = connection.recv()
    makers = {output.name: output.load() for output in plan.outputs}
    _limit_memory(plan.limits.memory_limit)
    connection.send_bytes(READY)
    while True:
        try:
            job, slot = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        signal.setitimer(signal.ITIMER_REAL, plan.limits.time_limit + GRACE)
        reply = work(plan, makers, job, memoryview(buffer)[slot:])
        signal.setitimer(signal.ITIMER_REAL, 0)
        with contextlib.suppress(BrokenPipeError):
            connection.send_bytes(reply.encode())


def work(plan: Plan, makers: MAKERS, job: Job, slot: memoryview) -> Reply:
    """Decode one video into its slot. Whatever goes wrong becomes a reason."""
    try:
        return _decode(plan, makers, job, slot)
    except VideoError as error:
        failure = error
    except MemoryError:
        failure = OverLimit(f"it needs more memory than {plan.limits.memory_limit:,} bytes")
    except cv2.error as error:
        lacking = error.code == cv2.Error.STS_NO_MEM
        failure = OverLimit("it needs too much memory") if lacking else VideoError(str(error))
    except Exception as error:  # a bug is one video's failure, and is named as what it is
        failure = VideoError(f"unexpected {type(error).__name__}: {error}")
    return Reply(
        error=type(failure).__name__,
        reason=str(failure)[:LONGEST_REASON],
        resident=resident_bytes(),
    )


def _decode(plan: Plan, makers: MAKERS, job: Job, slot: memoryview) -> Reply:
    protocol = Protocol.parse(plan.protocol)
    size = slot_bytes(plan.outputs, protocol.view_count)
    arrays = slot_arrays(slot[:size], plan.outputs, protocol.view_count)
    with open_video(
        job.path, root=plan.root, limits=plan.limits, decoder=plan.decoder, hashed=plan.hashed
    ) as video:
        info = video.info
        views = protocol.views(job.id, info.frames, fps=info.fps, seed=plan.seed)
        frames = read_frames(video, views)
        info = replace(info, hashes=video_hashes(frames, views))
    for name, make in makers.items():
        made = make(frames, views)
        if made.shape != arrays[name].shape or made.dtype != arrays[name].dtype:
            raise VideoError(
                f"output {name!r} is {made.dtype} {made.shape}, "
                f"{arrays[name].dtype} {arrays[name].shape} was announced"
            )
        np.copyto(arrays[name], made)
    return Reply(info=info, resident=resident_bytes())


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
