"""The same run over a Ray cluster: decoding on CPU actors, branches on device actors.

Ray places the actors, restarts them when a process or a node dies, and asks its autoscaler for
more nodes. Blocks of shards go to runners, which fill them with the pipeline of `pipeline.py`;
only the decoding is handed on, two small batches of videos ahead for each decoder and no more.
What was lost with a runner is computed again by the next that takes its block: committed shards
are skipped, so local and Ray runs continue each other's store.
"""

import itertools
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract.branch import BranchRequest, load_branch
from extract.decoding.job import Job, Outcome, Plan
from extract.decoding.pool import DecodePool
from extract.errors import BadSetting, WorkerLost
from extract.running.extraction import Extraction
from extract.running.pipeline import Pipeline, Settings, Stop, check_failures
from extract.running.progress import Progress, Summary
from features_store.errors import TelltaleError
from features_store.installing import how_to_install
from features_store.store import Store

if TYPE_CHECKING:
    from extract.manifest.manifest import Video

_JOBS_AT_ONCE = 4
"""Videos in one message: few, since their views wait in Ray's memory."""
_MESSAGES_AHEAD = 2
_BLOCKS_PER_RUNNER = 8
"""At least, so that a slow runner does not keep the others waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Which Ray, and how much of it."""

    address: str | None = None
    """None: a Ray of our own on this machine."""
    runners: int = 1
    """Actors that hold the networks."""
    device: str = "cpu"
    decoders: int | None = None
    """Decode actors of each runner; None: the CPUs that runners leave, shared out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a runner is told once."""

    store: str
    branches: Sequence[BranchRequest]
    settings: Settings
    plan: Plan
    device: str
    decoders: int
    threads: int
    """Of torch: the sums of a CPU's networks depend on them."""


class Decoder:
    """An actor with one decode worker, which a hostile file cannot take down."""

    def __init__(self, plan: Plan) -> None:
        self._pool = DecodePool(plan, workers=1)

    def decode(self, jobs: Sequence[Job]) -> list[Outcome]:
        return [
            replace(outcome, arrays={name: views.copy() for name, views in outcome.arrays.items()})
            for outcome in self._pool.run(jobs)
        ]


class Runner:
    """An actor that holds the networks and fills whole blocks."""

    def __init__(self, told: Assignment) -> None:
        import torch

        torch.set_num_threads(told.threads)
        requests = [replace(request, device=told.device) for request in told.branches]
        self._branches = [load_branch(request) for request in requests]
        self._told = told
        ray = import_ray()
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(Decoder)
        self._decoders = [actor.remote(told.plan) for _ in range(told.decoders)]

    def run(self, rows: Sequence[int], videos: "Sequence[Video]") -> Summary:
        """Compute what is still missing of these rows."""
        import numpy as np

        pipeline = Pipeline(Store.open(self._told.store), self._branches, self._told.settings)
        work = pipeline.work(np.asarray(rows, np.int64))
        by_row = dict(zip(rows, videos, strict=True))
        with Progress(total=len(work), bar=False) as progress:
            return pipeline.run(work, by_row.__getitem__, self._decode, progress)

    def _decode(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """`DecodePool.run` over the decoders, each with a bounded queue."""
        ray = import_ray()
        messages = _batches(jobs)
        waiting: dict[Any, tuple[Any, list[Job]]] = {}

        def send(decoder: Any) -> None:  # noqa: ANN401 (Ray's handles have no type)
            batch = next(messages, None)
            if batch:
                waiting[decoder.decode.remote(batch)] = decoder, batch

        for decoder in self._decoders * _MESSAGES_AHEAD:
            send(decoder)
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            decoder, batch = waiting.pop(ready)
            send(decoder)
            try:
                outcomes = ray.get(ready)
            except ray.exceptions.RayActorError as error:
                reason = WorkerLost(f"its decode actor was lost ({type(error).__name__})")
                outcomes = [Outcome(job=j, info=None, arrays={}, failure=reason) for j in batch]
            yield from outcomes


def run_on_ray(
    extraction: Extraction,
    options: ClusterOptions,
    *,
    log: Path | None = None,
    stop: Stop = lambda: False,
) -> Summary:
    """Do an extraction's work on a cluster. Every node must reach the store, the videos and the
    weights by the same names."""
    ray = import_ray()
    with signals_kept():
        ray.init(address=options.address, ignore_reinit_error=True, log_to_driver=False)
    store = extraction.store.place.name
    assignment = Assignment(
        store=store if "://" in store else str(Path(store).resolve()),
        branches=[branch.request for branch in extraction.pipeline.branches.values()],
        settings=extraction.pipeline.settings,
        plan=extraction.plan,
        device="cuda" if options.device.startswith("cuda") else options.device,
        decoders=options.decoders or _free_cpus(options),
        threads=_torch_threads(),
    )
    gpus = 1 if options.device.startswith("cuda") else 0
    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=-1)(Runner)
    runners = [actor.remote(assignment) for _ in range(options.runners)]
    try:
        with Progress(total=len(extraction.work), log=log) as progress:
            _drive(extraction, runners, progress, stop)
            return progress.summary()
    finally:
        for runner in runners:
            ray.kill(runner)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM over when it starts; what ctrl-C and SIGTERM do here is ours to say."""
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in ours.items():
            signal.signal(number, handler)


def _drive(extraction: Extraction, runners: Sequence[Any], progress: Progress, stop: Stop) -> None:
    """Give each runner its next blocks when it has done the last."""
    ray = import_ray()
    shares = _shares(extraction, len(runners))
    waiting: dict[Any, Any] = {}

    def send(runner: Any) -> None:  # noqa: ANN401
        if stop():
            progress.stopped = True
            return
        rows = next(shares, None)
        if rows is not None:
            videos = [extraction.video(row) for row in rows]
            waiting[runner.run.remote(rows, videos)] = runner

    for runner in runners:
        send(runner)
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        runner = waiting.pop(ready)
        try:
            _add(progress, ray.get(ready))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TelltaleError):  # without the remote traceback
                raise error.cause from error
            raise
        check_failures(progress, extraction.pipeline.settings)  # of all runners together
        send(runner)


def _shares(extraction: Extraction, runners: int) -> Iterator[list[int]]:
    """Rows of a few blocks at a time."""
    blocks = extraction.work.blocks()
    size = max(1, len(blocks) // (runners * _BLOCKS_PER_RUNNER))
    for start in range(0, len(blocks), size):
        rows: list[int] = extraction.work.only_blocks(blocks[start : start + size]).rows.tolist()
        yield rows


def _add(progress: Progress, summary: Summary) -> None:
    for _ in range(summary.ok):
        progress.video()
    for failure in summary.failures:
        progress.video(failure)
    progress.device_busy += summary.device_busy
    for name, seconds in summary.waited.items():
        progress.waited[name] += seconds


def _batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    queue = iter(jobs)
    while batch := list(itertools.islice(queue, _JOBS_AT_ONCE)):
        yield batch


def _free_cpus(options: ClusterOptions) -> int:
    total = int(import_ray().cluster_resources().get("CPU", 1))
    return max(1, (total - options.runners) // options.runners)


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def import_ray() -> Any:  # noqa: ANN401
    try:
        import ray
    except ImportError as error:
        raise BadSetting(
            f"--engine ray needs Ray, which is not installed: {how_to_install('ray')}."
        ) from error
    return ray
