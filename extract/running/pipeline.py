"""Decode workers → device batches → shards: every video decoded once, for all its views and
branches.

One thread owns everything: it takes decoded videos, copies their views into each branch's next
batch, deals results back into open shards, and hands whole shards to a writer thread. The device
has threads of its own. All queues are bounded, so memory does not grow with the archive; see
`memory`. What is in the store is skipped, so running again is resuming.

An interrupted run commits what it has computed: a shard may be written in parts.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from extract.branch import Branch
from extract.decoding.containers import Limits
from extract.decoding.job import Job, Outcome, Output, Plan, slot_bytes
from extract.errors import BadSetting, TooManyFailures, VideoError
from extract.manifest.manifest import Video
from extract.running.lane import Device, Lane, staging_bytes
from extract.running.open_shards import OpenShard, OpenShards
from extract.running.progress import Failure, Progress, Summary, grouped
from extract.running.workload import Rows, Target, Workload, workload
from extract.views.protocol import Protocol
from features_store import facts
from features_store.branch_arrays import BranchArrays
from features_store.schema import BranchSpec
from features_store.store import Store

Decode = Callable[[Iterable[Job]], Iterator[Outcome]]
"""`DecodePool.run`, or the same over a cluster."""
Stop = Callable[[], bool]

FAILURES_COUNT_FROM = 100
_WRITES_AHEAD = 2
_STRAGGLERS = 4
"""Shards that wait for a slow video, at a guess; each worker could hold one up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How videos are looked at, and when to give up."""

    protocol: str
    seed: int = 0
    """Of train views."""
    decoder: str = "pyav"
    limits: Limits = field(default_factory=Limits)
    batch: int | None = None
    """Views that go to the device at once; None: as many as fit."""
    retry_failed: bool = False
    max_failed: float = 0.2
    """Share of failed videos, after the first 100, that stops the run."""
    shard_rows: int | None = None
    """Videos that are written together; None: 64 MiB of them, at most 256."""

    def __post_init__(self) -> None:
        Protocol.parse(self.protocol)
        if not 0 < self.max_failed <= 1:
            raise BadSetting(f"max_failed {self.max_failed:g}: give more than 0, at most 1.")
        if self.batch is not None and self.batch < 1:
            raise BadSetting(f"A batch of {self.batch} views: give 1 or more.")

    def protocol_details(self) -> dict[str, object]:
        """What the store remembers of the protocol; other details never mix with these."""
        protocol = Protocol.parse(self.protocol)
        seed = {"seed": self.seed} if protocol.kind == "train" else {}
        return {**protocol.describe(), **seed}


class Pipeline:
    """Fills one store's arrays for one protocol. Make it, look at `work`, then `run` it."""

    def __init__(self, store: Store, branches: Sequence[Branch], settings: Settings) -> None:
        self.settings = settings
        self.views = Protocol.parse(settings.protocol).view_count
        self.branches = {branch.spec(self.views).group: branch for branch in branches}
        if len(self.branches) < len(branches):
            raise BadSetting("A branch was given twice, with the same weights and options.")
        check_fit(branches, settings.protocol)
        specs = [branch.spec(self.views) for branch in branches]
        files = facts.spec_in(store, settings.protocol)
        self.targets = {spec.group: open_target(store, spec, settings) for spec in [*specs, files]}

    def work(self, rows: Rows) -> Workload:
        """What is missing of these videos."""
        targets = [
            Target(name=name, status=arrays.status(), shard_rows=arrays.shard_rows)
            for name, arrays in self.targets.items()
        ]
        return workload(rows, targets, retry_failed=self.settings.retry_failed)

    def memory(self, workers: int) -> int:
        """Bytes that a run may take beside the networks."""
        shard_bytes = sum(
            arrays.shard_rows * sum(array.row_bytes for array in arrays.spec.arrays.values())
            for arrays in self.targets.values()
        )
        return memory_needed(list(self.branches.values()), self.settings, workers, shard_bytes)

    def run(
        self,
        work: Workload,
        videos: Callable[[int], Video],
        decode: Decode,
        progress: Progress,
        stop: Stop = lambda: False,
    ) -> Summary:
        """Do the work. `videos` gives the video of a row; `stop` is asked between videos."""
        run = _Run(self, work, progress)
        try:
            run.through(videos, decode, stop)
        finally:
            run.close()
        return progress.summary()


def check_failures(progress: Progress, settings: Settings) -> None:
    """Stop a run in which so many videos fail that something else must be wrong."""
    failed, limit = len(progress.failures), settings.max_failed
    done = failed + progress.ok
    if done >= FAILURES_COUNT_FROM and failed > limit * done:
        reasons = "; ".join(f"{n} times: {text}" for text, n in grouped(progress.failures)[:3])
        raise TooManyFailures(
            f"{failed} of the first {done} videos failed, more than {limit:.0%} "
            f"(--max-failed): {reasons}. Shards that are done are kept. When the cause is "
            f"removed, go on with the same command and --retry-failed."
        )


def open_target(store: Store, spec: BranchSpec, settings: Settings) -> BranchArrays:
    """The arrays of a branch in the store, made where they are missing."""
    details = settings.protocol_details()
    arrays = store.branch(
        settings.protocol, spec, shard_rows=settings.shard_rows, protocol_details=details
    )
    there = arrays.groups["protocol"]["details"]
    if there != details:
        differs = sorted(key for key in {*there, *details} if there.get(key) != details.get(key))
        raise BadSetting(
            f"{store.place.name} has protocol {settings.protocol} with another "
            f"{', '.join(differs)}: {[there.get(key) for key in differs]} there, "
            f"{[details.get(key) for key in differs]} asked for. Views of both never mix; use the "
            f"same, or another store."
        )
    return arrays


def decode_plan(branches: Sequence[Branch], settings: Settings, root: str) -> Plan:
    """What decode workers have to know."""
    check_fit(branches, settings.protocol)
    return Plan(
        protocol=settings.protocol, outputs=_outputs(branches), root=root, seed=settings.seed,
        decoder=settings.decoder, limits=settings.limits,
    )  # fmt: skip


def check_fit(branches: Sequence[Branch], name: str) -> None:
    """Refuse branches that cannot be run together, or that this protocol's views do not suit."""
    protocol = Protocol.parse(name)
    has = protocol.pairs if protocol.kind == "pairs" else 0
    for output in _outputs(branches):
        if output.pairs != has:
            wanted = f"pairs-{output.pairs}" if output.pairs else "val, test-SxC or train-V"
            names = [branch.name for branch in branches if branch.prepare == output]
            raise BadSetting(
                f"Branch {' and '.join(names)} needs protocol {wanted}, {name} was asked for."
            )


def memory_needed(
    branches: Sequence[Branch], settings: Settings, workers: int, shard_bytes: int
) -> int:
    """Bytes in decoded views, batches, and open shards (one of each branch: `shard_bytes`)."""
    views = Protocol.parse(settings.protocol).view_count
    slots = 2 * workers * slot_bytes(_outputs(branches), views)
    batches = sum(staging_bytes(branch) for branch in branches)
    return slots + batches + shard_bytes * (_WRITES_AHEAD + min(workers, _STRAGGLERS))


def _outputs(branches: Sequence[Branch]) -> tuple[Output, ...]:
    """What workers make: one array where several branches prepare videos alike."""
    outputs = {branch.prepare.name: branch.prepare for branch in branches}
    for branch in branches:
        if outputs[branch.prepare.name] != branch.prepare:
            raise BadSetting(
                f"Two branches prepare videos differently under one name, "
                f"{branch.prepare.name!r}; extract them one after the other."
            )
    return tuple(outputs.values())


class _Run:
    """One run's moving parts."""

    def __init__(self, pipeline: Pipeline, work: Workload, progress: Progress) -> None:
        self.pipeline = pipeline
        self.work = work
        self.progress = progress
        self.shards = {
            name: OpenShards(arrays, work.needed(name), pipeline.views)
            for name, arrays in pipeline.targets.items()
        }
        self.devices = {
            branch.device: Device(branch.device) for branch in pipeline.branches.values()
        }
        self.lanes = {
            name: Lane(
                branch, self.shards[name], self.devices[branch.device], pipeline.settings.batch
            )
            for name, branch in pipeline.branches.items()
        }
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self.writes: deque[Future[None]] = deque()

    def close(self) -> None:
        for device in self.devices.values():
            device.close()
        self.writer.shutdown(cancel_futures=True)

    def through(self, videos: Callable[[int], Video], decode: Decode, stop: Stop) -> None:
        outcomes = decode(self._jobs(videos, stop))
        while True:
            with self.progress.stage("decode"):
                outcome = next(outcomes, None)
            if outcome is None:
                break
            with self.progress.stage("prepare"):
                self._take(outcome)
                for lane in self.lanes.values():
                    lane.collect()
            self._write_whole()
        with self.progress.stage("prepare"):
            for lane in self.lanes.values():
                lane.flush()
        self._write_whole()
        for shards in self.shards.values():
            for begun in shards.take_begun():
                self._write(shards, begun)
        with self.progress.stage("write"):
            while self.writes:
                self.writes.popleft().result()

    def _jobs(self, videos: Callable[[int], Video], stop: Stop) -> Iterator[Job]:
        for position, row in enumerate(self.work.rows.tolist()):
            if stop():
                self.progress.stopped = True
                return
            video = videos(row)
            yield Job(index=position, id=video.id, path=video.path)

    def _take(self, outcome: Outcome) -> None:
        position = outcome.job.index
        row = int(self.work.rows[position])
        wanting = [name for name, needs in self.work.needs.items() if needs[position]]
        if outcome.failure is not None:
            self._fail(row, wanting, outcome.job.id, outcome.failure)
            return
        assert outcome.info is not None
        self.progress.video()
        for name in wanting:
            if name in self.lanes:
                lane = self.lanes[name]
                lane.add(row, outcome.arrays[lane.branch.prepare.name])
            else:
                arrays = self.pipeline.targets[name].spec.arrays
                self.shards[name].put(row, facts.encode(outcome.info.facts(), arrays))

    def _fail(self, row: int, wanting: Sequence[str], video: str, failure: VideoError) -> None:
        for name in wanting:
            self.shards[name].fail(row, str(failure))
        self.progress.video(Failure(id=video, reason=str(failure)))
        check_failures(self.progress, self.pipeline.settings)

    def _write_whole(self) -> None:
        self.progress.device_busy = max(
            (device.busy for device in self.devices.values()), default=0.0
        )
        waited = sum(lane.waited for lane in self.lanes.values())
        self.progress.waited["prepare"] -= waited - self.progress.waited["device"]
        self.progress.waited["device"] = waited
        for shards in self.shards.values():
            for whole in shards.take_whole():
                self._write(shards, whole)

    def _write(self, shards: OpenShards, shard: OpenShard) -> None:
        with self.progress.stage("write"):
            while len(self.writes) >= _WRITES_AHEAD:
                self.writes.popleft().result()
        self.progress.event(
            "commit",
            branch=shards.target.prefix,
            shard=shard.shard,
            rows=int(shard.status.astype(bool).sum()),
        )
        self.writes.append(self.writer.submit(shards.commit, shard))
