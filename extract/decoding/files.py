"""What a decode worker has open between jobs."""

import contextlib
import functools
from collections.abc import Iterator, Sequence

from extract.decoding import credentials
from extract.decoding.frames import file_frames
from extract.decoding.info import VideoInfo
from extract.decoding.job import Job, Look, Plan
from extract.decoding.picture import Opened, open_any
from extract.decoding.reel import Reel, Stretch
from extract.decoding.scanning import Scanner
from extract.decoding.video import open_video
from extract.errors import VideoError
from extract.manifest.segments import segment_of
from extract.views.protocol import Protocol
from extract.views.view import View


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
