"""Carry out a run where it says: in this process, in one per device, or on Ray."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from extract.processes import default_workers
from extract.running.crew import Crew, drive
from extract.running.devices import DeviceCrew, DeviceLost
from extract.running.extraction import Extraction
from extract.running.flow import Stop
from extract.running.progress import Progress
from extract.running.run import Run
from extract.running.summary import Summary

log = logging.getLogger(__name__)

Announce = Callable[[Extraction, int], None]
"""Told what there is to do and the bytes that it takes beside the networks, before it begins."""
_LOSSES = 2
AnyCrew = TypeVar("AnyCrew", bound=Crew)


def carry_out(
    run: Run,
    *,
    announce: Announce = lambda extraction, memory: None,
    stop: Stop = lambda: False,
    bar: bool = True,
) -> tuple[Extraction, Summary]:
    """Everything that is missing. A device's process that was killed is replaced, once."""
    if run.cluster is not None:
        from extract.running.cluster import RayCrew

        return with_crew(run, RayCrew(run), announce, stop, bar=bar)
    if len(run.devices) == 1:
        return _here(run, announce, stop, bar=bar)
    for left in reversed(range(_LOSSES)):
        try:
            return with_crew(run, DeviceCrew(run), announce, stop, bar=bar)
        except DeviceLost as error:
            if not left:
                raise
            log.warning("%s A new one takes its place.", error)
    raise AssertionError


def with_crew(
    run: Run,
    crew: AbstractContextManager[AnyCrew],
    announce: Announce,
    stop: Stop,
    *,
    bar: bool,
) -> tuple[Extraction, Summary]:
    """By processes that hold the networks; this one never does."""
    with crew as workers:
        ready = workers.ready()
        extraction = Extraction.planned(
            run.manifest, run.store, ready.offers, run.settings, run.part
        )
        each = ready.buffers + extraction.shard_memory(workers.workers)
        announce(extraction, each * workers.count)
        total, count = len(extraction.work), workers.count
        with Progress(total=total, log=run.log, bar=bar, devices=count) as progress:
            return extraction, drive(extraction, workers, progress, stop)


def _here(run: Run, announce: Announce, stop: Stop, *, bar: bool) -> tuple[Extraction, Summary]:
    branches = run.load_branches()
    extraction = Extraction.begin(run.manifest, run.store, branches, run.settings, run.part)
    workers = run.workers or default_workers()
    announce(extraction, extraction.memory(workers))
    return extraction, extraction.run(workers=workers, log=run.log, bar=bar, stop=stop)
