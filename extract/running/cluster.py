"""The same run over a Ray cluster: decoding on CPU actors, branches on device actors.

Ray places the actors, restarts them when a process or a node dies, and asks its autoscaler for
more nodes. Blocks of shards go to runners, two at a time, which fill them with the pipeline of
`pipeline.py`; only the decoding is handed on, two small batches of videos ahead for each decoder
and no more. What was lost with a runner is computed again by the next that takes its block, so
local and Ray runs continue each other's store.
"""

import itertools
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from extract.decoding.job import Job, Outcome, Plan
from extract.decoding.pool import DecodePool
from extract.errors import BadSetting, WorkerLost
from extract.running.crew import drive
from extract.running.extraction import Extraction
from extract.running.flow import Stop
from extract.running.messages import AHEAD, Ready
from extract.running.pipeline import Pipeline, decode_plan, open_arrays
from extract.running.progress import Progress
from extract.running.run import Cluster, Run
from extract.running.summary import Report, Summary
from extract.running.workload import Piece
from features_store.errors import TelltaleError
from features_store.installing import how_to_install
from features_store.store import Store

_JOBS_AT_ONCE = 4
"""Videos in one message: few, since their views wait in Ray's memory."""
_MESSAGES_AHEAD = 2
_POLL = 0.5


class Decoder:
    """An actor with one decode worker, which a hostile file cannot take down."""

    def __init__(self, plan: Plan) -> None:
        self._pool = DecodePool(plan, workers=1)

    def decode(self, jobs: Sequence[Job]) -> list[Outcome]:
        return [outcome.copied for outcome in self._pool.run(jobs)]


class Runner:
    """An actor that holds the networks and fills whole blocks, one piece after the other."""

    def __init__(self, told: Run) -> None:
        import torch

        assert told.workers is not None
        assert told.threads is not None
        torch.set_num_threads(told.threads)
        branches = told.load_branches()
        self._told = told
        self._ready = Ready.of(branches, told.settings, told.workers)
        self._branches = branches
        self._pipeline: Pipeline | None = None
        self._one_at_a_time = threading.Lock()
        self._stopping = False
        ray = import_ray()
        plan = decode_plan(branches, told.settings, str(told.manifest.root))
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(Decoder)
        self._decoders = [actor.remote(plan) for _ in range(told.workers)]

    def ready(self) -> Ready:
        return self._ready

    def run(self, piece: Piece) -> list[Report]:
        """Do a piece. Others may wait here, so that the next begins without a message."""
        reports: list[Report] = []
        with self._one_at_a_time, Progress(bar=False, tell=reports.append) as progress:
            if self._pipeline is None:
                store, settings = Store.open(self._told.store), self._told.settings
                targets = open_arrays(store, self._ready.offers, settings)
                self._pipeline = Pipeline(targets, self._branches, settings)
            self._pipeline.run([piece], self._decode, progress, lambda: self._stopping)
        return reports

    def stop(self) -> None:
        self._stopping = True

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
                outcomes = [Outcome(job=job, failure=reason) for job in batch]
            yield from outcomes


class RayCrew:
    """A runner per device. Every node must reach the store, the videos and the weights by the same
    names. Use it as a context manager."""

    def __init__(self, run: Run) -> None:
        ray = import_ray()
        assert run.cluster is not None
        with signals_kept():
            # Without "local", Ray would join a cluster that happens to run on this machine.
            address = run.cluster.address or "local"
            ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
        on_gpu = run.devices[0].startswith("cuda")
        self.count = run.cluster.runners
        self.workers = run.workers or _free_cpus(run.cluster)
        told = run.share("cuda" if on_gpu else run.devices[0], self.workers, _torch_threads())
        actor = ray.remote(
            num_cpus=1, num_gpus=int(on_gpu), max_restarts=-1, max_task_retries=-1,
            max_concurrency=AHEAD + 2,  # pieces, and a word between them
        )(Runner)  # fmt: skip
        self._runners = [actor.remote(told) for _ in range(self.count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for runner in self._runners:
            import_ray().kill(runner)

    def ready(self) -> Ready:
        with _plainly():
            ready: Ready = import_ray().get(self._runners[0].ready.remote())
        return ready

    def work(self, pieces: Iterator[Piece]) -> Iterator[Report]:
        ray = import_ray()
        waiting: dict[Any, Any] = {}

        def send(runner: Any) -> None:  # noqa: ANN401
            piece = next(pieces, None)
            if piece is not None:
                waiting[runner.run.remote(piece)] = runner

        for runner in self._runners * AHEAD:
            send(runner)
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=_POLL)
            for reference in done:
                send(waiting.pop(reference))
                with _plainly():
                    yield from ray.get(reference)
            yield Report()

    def stop(self) -> None:
        for runner in self._runners:
            runner.stop.remote()


def run_on_ray(extraction: Extraction, run: Run, *, stop: Stop = lambda: False) -> Summary:
    """Do an extraction that has been begun here."""
    total = len(extraction.work)
    with RayCrew(run) as crew, Progress(total=total, log=run.log, devices=crew.count) as progress:
        return drive(extraction, crew, progress, stop)


@contextmanager
def _plainly() -> Iterator[None]:
    """Our errors without the remote traceback."""
    ray = import_ray()
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TelltaleError):
            raise error.cause from error
        raise
    except ray.exceptions.RayActorError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, TelltaleError):  # its networks could not be loaded
            raise cause from error
        raise


@contextmanager
def signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM over when it starts; what ctrl-C and SIGTERM do here is ours to say."""
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in ours.items():
            signal.signal(number, handler)


def _batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    queue = iter(jobs)
    while batch := list(itertools.islice(queue, _JOBS_AT_ONCE)):
        yield batch


def _free_cpus(cluster: Cluster) -> int:
    total = int(import_ray().cluster_resources().get("CPU", 1))
    return max(1, (total - cluster.runners) // cluster.runners)


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
