"""Which jobs are one worker's: segments of a file, so that it is opened and decoded once."""

from collections.abc import Iterable, Iterator

from extract.decoding.job import Job

MOST = 32
"""Between two lots of a file a worker may have to decode a few pictures twice, and a run that is
asked to stop ends them first."""


def lots(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Neighbours that are segments of one file, a few at a time; every other job alone, without
    waiting for the one after it, which may be dealt much later."""
    queue = iter(jobs)
    job = next(queue, None)
    while job is not None:
        lot, job = [job], None
        if lot[0].segment:
            while (job := next(queue, None)) and len(lot) < MOST and _is_same_file(lot[0], job):
                lot.append(job)
        yield lot
        job = job or next(queue, None)


def _is_same_file(one: Job, other: Job) -> bool:
    return other.segment is not None and other.path == one.path
