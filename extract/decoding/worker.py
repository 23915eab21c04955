"""The process that decodes: takes jobs from a socket, leaves arrays in shared memory.

    python -m extract.decoding.worker SOCKET

It is told a plan and its jobs, perhaps another plan after that. It limits its own memory, kills
itself when a job takes far too long (so that none outlives a killed parent), and ends when its
socket is closed. It never imports torch unless an output's function does, or what finds shots. Only
`worker_process` starts it.
"""

import contextlib
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from extract.decoding import credentials, evidence
from extract.decoding.cuts import Cutting
from extract.decoding.files import Files
from extract.decoding.frames import read_looks
from extract.decoding.info import VideoInfo
from extract.decoding.job import Arrays, Job, Look, Plan, slot_arrays
from extract.decoding.reply import Reply, Said
from extract.decoding.scanning import Scanner
from extract.decoding.stills import Stills
from extract.decoding.video import Image, open_video
from extract.errors import OverLimit, VideoError
from extract.views.frame_hash import video_hashes
from extract.views.view import View

READY = b"ready"
GRACE = 10.0
LONGEST_REASON = 2000
Makers = Mapping[str, Mapping[str, Callable[..., Any]]]
"""By protocol and output."""


def main(arguments: Sequence[str]) -> None:
    connection = Connection(int(arguments[0]))
    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)
    plan, size = _heard(connection)
    while True:
        plan, size = _follow(connection, plan, size)


def _follow(connection: Connection, plan: Plan, size: int) -> tuple[Plan, int]:
    """Do the jobs of a plan, in memory of so many bytes; the plan that comes after it."""
    memory = recv_handle(connection)
    buffer = mmap.mmap(memory, size)
    os.close(memory)
    _limit_memory(None)
    makers = load_makers(plan)
    files = Files(plan)
    _limit_memory(plan.limits.memory_limit)
    connection.send_bytes(READY)
    try:
        while True:
            job, slot = _heard(connection)
            if isinstance(job, Plan):
                return job, slot
            signal.setitimer(signal.ITIMER_REAL, plan.seconds(job) + GRACE)
            reply = work(files, makers, job, memoryview(buffer)[slot:])
            signal.setitimer(signal.ITIMER_REAL, 0)
            with contextlib.suppress(BrokenPipeError):
                connection.send_bytes(reply.encode())
    finally:
        files.close()


def _heard(connection: Connection) -> Any:  # noqa: ANN401, whatever the parent sends
    """The next message; the end, where the parent has closed the socket or is gone."""
    try:
        return connection.recv()
    except (EOFError, ConnectionResetError):
        sys.exit()


def load_makers(plan: Plan) -> Makers:
    """The functions that make a plan's outputs."""
    return {
        look.protocol: {output.name: output.load() for output in look.outputs}
        for look in plan.looks
    }


def work(files: Files, makers: Makers, job: Job, slot: memoryview) -> Reply:
    """Decode one video into its slot. Whatever goes wrong becomes a reason.

    What cannot be decoded for all looks together is decoded for each by itself: a frame that is
    broken, or memory that is short, fails the looks that need it and no others.
    """
    plan = files.plan
    if plan.cutting is not None:
        return _cut(files, plan.cutting, job)
    if files.credentials is not None:
        return _evidence(plan, files.credentials, job)
    if plan.stills is not None:
        return _stills(files, plan.stills, job, slot[: plan.slot_bytes])
    if files.scanner is not None:
        return _scanned(plan, files.scanner, job, slot[: plan.slot_bytes])
    looks = plan.wanted(job)
    arrays = slot_arrays(slot[: plan.slot_bytes], plan.looks)
    info, said = _looked(files, looks, makers, arrays, job)
    if info is None and len(looks) > 1:
        apart = [_looked(files, [look], makers, arrays, job) for look in looks]
        info = next((found for found, _ in apart if found is not None), None)
        said = [one for _, found in apart for one in found]
    resident = resident_bytes()
    if all(one.error for one in said):
        return Reply(error=said[0].error, reason=said[0].reason, resident=resident)
    return Reply(info=info, said=tuple(said), resident=resident)


def _cut(files: Files, cutting: Cutting, job: Job) -> Reply:
    """Where a video is to be cut."""
    plan = files.plan
    try:
        with open_video(job.path, root=plan.root, limits=plan.limits, reread=True) as video:
            marks = tuple(round(1000 * mark) for mark in cutting.marks(video, files.shots))
            return Reply(info=video.info, marks=marks, resident=resident_bytes())
    except Exception as error:
        return _nothing(error, plan)


def _evidence(plan: Plan, read: credentials.Read, job: Job) -> Reply:
    """What the file says of where it is from."""
    try:
        info, words = evidence.look(job.path, plan.root, plan.limits, read)
        return Reply(info=info, words=words, resident=resident_bytes())
    except Exception as error:
        return _nothing(error, plan)


def _stills(files: Files, stills: Stills, job: Job, slot: memoryview) -> Reply:
    """A few small pictures of it."""
    try:
        with files.opened((), job) as video:
            info = stills.write(video, job.besides, slot)
            return Reply(info=info, resident=resident_bytes())
    except Exception as error:
        return _nothing(error, files.plan)


def _scanned(plan: Plan, scanner: Scanner, job: Job, slot: memoryview) -> Reply:
    """A lot of a video's frames, as they are."""
    try:
        return Reply(info=scanner.write(job, slot), resident=resident_bytes())
    except Exception as error:
        return _nothing(error, plan)


def _nothing(error: Exception, plan: Plan) -> Reply:
    """Of the video as a whole."""
    said = _failed(Look(protocol="val"), error, plan)
    return Reply(error=said.error, reason=said.reason, resident=resident_bytes())


def _looked(
    files: Files, looks: Sequence[Look], makers: Makers, arrays: Mapping[str, Arrays], job: Job
) -> tuple[VideoInfo | None, list[Said]]:
    """What the file is and a word on each look; no file where it could not be decoded for them."""
    try:
        with files.opened(looks, job) as video:
            info = video.info
            views = [files.views(look, job.id, info) for look in looks]
            frames = read_looks(video, views)
    except Exception as error:
        return None, [_failed(look, error, files.plan) for look in looks]
    said = []
    for look, its_views in zip(looks, views, strict=True):
        its_frames = frames.pop(0)  # not kept for longer than they are looked at
        try:
            own = makers[look.protocol], arrays[look.protocol]
            lacking = _make(*own, its_frames, its_views)
            hashes = video_hashes(its_frames, its_views)
            names, why = tuple(lacking), tuple(lacking.values())
            said.append(Said(protocol=look.protocol, hashes=hashes, lacking=names, reasons=why))
        except Exception as error:
            said.append(_failed(look, error, files.plan))
    return info, said


def _make(
    makers: Mapping[str, Callable[..., Any]],
    arrays: Arrays,
    frames: Mapping[int, Image],
    views: Sequence[View],
) -> dict[str, str]:
    """Why some of the arrays could not be made of the video, by name; where none could, the first
    reason is the video's."""
    lacking: dict[str, VideoError] = {}
    for name, make in makers.items():
        try:
            made = make(frames, views)
        except VideoError as error:
            lacking[name] = error
            continue
        if made.shape != arrays[name].shape or made.dtype != arrays[name].dtype:
            raise VideoError(
                f"output {name!r} is {made.dtype} {made.shape}, "
                f"{arrays[name].dtype} {arrays[name].shape} was announced"
            )
        np.copyto(arrays[name], made)
    if lacking and len(lacking) == len(makers):
        raise next(iter(lacking.values()))
    return {name: str(error)[:LONGEST_REASON] for name, error in lacking.items()}


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


def _limit_memory(extra: int | None) -> None:
    """A limit on address space: allocations beyond it fail, and the video with them. None: no
    more than the machine's."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = hard if extra is None else _statm(0) + extra
    if hard == resource.RLIM_INFINITY or limit <= hard:
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
