"""The process that decodes: takes jobs from a socket, leaves arrays in shared memory.

    python -m extract.decoding.worker SOCKET MEMORY BYTES

It limits its own memory, kills itself when a job takes far too long (so that none outlives a
killed parent), and ends when its socket is closed. It never imports torch unless an output's
function does, or what finds shots. Only the pool starts it.
"""

import contextlib
import functools
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from extract.decoding import credentials, evidence
from extract.decoding.cuts import Cutting
from extract.decoding.frames import file_frames, read_looks
from extract.decoding.info import VideoInfo
from extract.decoding.job import Arrays, Job, Look, Plan, slot_arrays
from extract.decoding.picture import Opened, open_any
from extract.decoding.reel import Reel, Stretch
from extract.decoding.reply import Reply, Said
from extract.decoding.scanning import Scanner
from extract.decoding.stills import Stills
from extract.decoding.video import Image, open_video
from extract.errors import OverLimit, VideoError
from extract.manifest.segments import segment_of
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
    files = Files(plan)
    _limit_memory(plan.limits.memory_limit)
    connection.send_bytes(READY)
    while True:
        try:
            job, slot = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        signal.setitimer(signal.ITIMER_REAL, plan.seconds(job) + GRACE)
        reply = work(files, makers, job, memoryview(buffer)[slot:])
        signal.setitimer(signal.ITIMER_REAL, 0)
        with contextlib.suppress(BrokenPipeError):
            connection.send_bytes(reply.encode())


class Files:
    """The file that is open between jobs: the one that segments are cut from."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._path = ""
        self._reel: Reel | None = None
        opening = functools.partial(self.opened, ())
        self.shots = None if plan.cutting is None else plan.cutting.load()
        self.credentials = credentials.load() if plan.evidence else None
        self.scanner = None if plan.scan is None else Scanner(plan.scan, opening)

    @contextlib.contextmanager
    def opened(self, looks: Sequence[Look], job: Job) -> Iterator[Opened | Stretch]:
        """The job's file, or its segment."""
        plan, segment = self.plan, job.segment
        if segment is None:
            with open_any(
                job.path, root=plan.root, limits=plan.limits, decoder=plan.decoder,
                hashed=plan.hashed,
            ) as video:  # fmt: skip
                yield video
            return
        reel = self._reel_of(job.path)
        reel.expect(lambda: self._coming(reel, looks, job))
        try:
            yield reel.stretch(segment, plan.limits.max_seconds)
        except VideoError:
            raise
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Whatever is open."""
        if self._reel is not None:
            self._reel.close()
        self._path, self._reel = "", None

    def views(self, look: Look, video_id: str, info: VideoInfo) -> tuple[View, ...]:
        """Of one look."""
        protocol = Protocol.parse(look.protocol)
        return protocol.views(video_id, info.frames, fps=info.fps, seed=self.plan.seed)

    def _reel_of(self, path: str) -> Reel:
        if self._reel is not None and self._path == path:
            return self._reel
        self.close()
        plan = self.plan
        with contextlib.ExitStack() as stack:
            opening = open_video(
                path, root=plan.root, limits=plan.limits, hashed=plan.hashed, reread=True
            )
            video = stack.enter_context(opening)
            self._path, self._reel = path, Reel(video, stack.pop_all())
        return self._reel

    def _coming(self, reel: Reel, looks: Sequence[Look], job: Job) -> list[list[int]]:
        """The frames of the file that the segments which follow need."""
        found = []
        for name in job.ahead:
            segment = segment_of(name, job.path)
            with contextlib.suppress(VideoError):
                assert segment is not None
                stretch = reel.stretch(segment, self.plan.limits.max_seconds)
                views = [self.views(look, name, stretch.info) for look in looks]
                found.append([stretch.first + n for n in file_frames(stretch, views)])
        return found


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
