"""Several processes at one run: blocks of shards are dealt to whoever is ready for them.

Each process holds the networks and has a device. It is given the next piece of work when it begins
the last one, so that a slow one keeps nobody waiting, and reports twice a second. This process
alone knows the whole: it writes the log, counts, and takes note of the files.
"""

from collections.abc import Iterator
from typing import Protocol

from extract.errors import TooManyFailures
from extract.running.extraction import Extraction
from extract.running.failures import check_failures
from extract.running.flow import Stop
from extract.running.messages import Ready
from extract.running.progress import Progress
from extract.running.summary import Report, Summary
from extract.running.workload import Piece


class Crew(Protocol):
    """The processes of one run."""

    count: int
    """How many, each with a device."""
    workers: int
    """Decode workers of each."""

    def ready(self) -> Ready:
        """Wait until one of them has its networks."""

    def work(self, pieces: Iterator[Piece]) -> Iterator[Report]:
        """Have all pieces done. Reports come often, empty ones where nothing has happened."""

    def stop(self) -> None:
        """Ask for an end soon: what is begun is finished, the rest is left."""


def drive(extraction: Extraction, crew: Crew, progress: Progress, stop: Stop) -> Summary:
    """Do an extraction's work with a crew."""

    def dealt() -> Iterator[Piece]:
        for piece in extraction.pieces(crew.count):
            if stop() or stopping:
                return
            yield piece

    stopping = False
    too_many: TooManyFailures | None = None
    for report in crew.work(dealt()):
        progress.add(report)
        try:
            check_failures(progress, extraction.settings.max_failed)
        except TooManyFailures as error:
            too_many = too_many or error
        if (stop() or too_many) and not stopping:
            stopping = True
            crew.stop()
    if too_many is not None:
        raise too_many
    progress.stopped = stopping and progress.summary().done < len(extraction.work)
    extraction.note_files()
    return progress.summary()
