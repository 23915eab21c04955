"""A manifest's videos as segments, found by decode workers: a row for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from extract.decoding.containers import Limits
from extract.decoding.cuts import Cutting, segments
from extract.decoding.job import Job, Plan
from extract.decoding.pool import DecodePool
from extract.manifest.manifest import Manifest, Video
from extract.manifest.segments import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What became of a manifest."""

    manifest: Manifest
    """A row for each segment, with its video's label; one for a video that could not be cut."""
    videos: int
    """That were cut."""
    failures: Sequence[tuple[str, str]] = ()
    """Id and reason of those that could not be."""


def cut(
    manifest: Manifest,
    cutting: Cutting,
    limits: Limits,
    *,
    workers: int = 1,
    done: Callable[[], object] = lambda: None,
) -> Cut:
    """Rows that are segments already stay. `done` after each video."""
    cutting.check()
    videos = manifest.videos
    whole = [place for place, video in enumerate(videos) if not video.segment]
    jobs = (Job(index=place, id=videos[place].id, path=videos[place].path) for place in whole)
    plan = Plan(looks=(), root=str(manifest.root), limits=limits, cutting=cutting)
    found: dict[int, list[Segment]] = {}
    failures = []
    if whole:
        with DecodePool(plan, workers=max(1, min(workers, len(whole)))) as pool:
            for outcome in pool.run(jobs):
                if outcome.failure is not None:
                    failures.append((outcome.job.id, str(outcome.failure)))
                else:
                    marks = [mark / 1000 for mark in outcome.marks]
                    found[outcome.job.index] = segments(marks)
                done()
    rows = tuple(
        row for place, video in enumerate(videos) for row in _rows(video, found.get(place))
    )
    return Cut(manifest=replace(manifest, videos=rows), videos=len(found), failures=failures)


def _rows(video: Video, found: Sequence[Segment] | None) -> list[Video]:
    if found is None:
        return [video]
    group = video.group or video.id  # segments of a video never part
    return [replace(video, id=f"{video.id}{segment}", group=group) for segment in found]
