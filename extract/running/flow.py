"""Decode workers → device batches → shards: every video decoded once, for all its protocols,
views and branches.

One thread owns everything: it takes decoded videos, copies their views into each branch's next
batch, deals results back into open shards, and hands whole shards to a writer thread. The device
has threads of its own. All queues are bounded, so memory does not grow with the archive.

However a run ends, what it has computed is committed: a shard may be written in parts.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from extract.decoding.info import VideoInfo
from extract.decoding.job import Job, Outcome, Seen
from extract.errors import VideoError
from extract.running.device import Device
from extract.running.lanes import Lanes
from extract.running.open_shards import Numbers, OpenShard, OpenShards
from extract.running.progress import Progress
from extract.running.summary import Commit, Failure
from extract.running.workload import Piece

Decode = Callable[[Iterable[Job]], Iterator[Outcome]]
"""`DecodePool.run`, or the same over a cluster."""
Stop = Callable[[], bool]
Encode = Callable[[VideoInfo, Seen], Numbers]
"""A row of a target that is filled from what decoding found out about the file."""

WRITES_AHEAD = 2


class Flow:
    """One run's moving parts. Use it as a context manager; then call `through` once."""

    def __init__(
        self,
        lanes: Sequence[Lanes],
        shards: Mapping[str, OpenShards],
        files: Mapping[str, Encode],
        devices: Sequence[Device],
        progress: Progress,
    ) -> None:
        """A target's shards are filled by a network's lanes, or from the file by `files`."""
        self.lanes = lanes
        self.shards = shards
        self.files = files
        self.devices = devices
        self.progress = progress
        self._outputs = {name: lanes.output for lanes in lanes for name in lanes.groups}
        """What decoding makes for a network's targets, by target."""
        self._wanting: dict[int, tuple[str, ...]] = {}
        """Of videos that are being decoded: the targets that need them."""
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._writes: deque[tuple[Future[None], Commit]] = deque()

    def through(self, pieces: Iterable[Piece], decode: Decode, stop: Stop) -> None:
        """Do all pieces, or those that were begun when `stop` says so."""
        try:
            self._decode_all(pieces, decode, stop)
            self._write_all()
        except BaseException:
            # What is done is kept. Where writing itself is broken, that is the error to show.
            with contextlib.suppress(Exception):
                self._write_all()
            raise
        finally:
            for device in self.devices:
                device.close()
            self._writer.shutdown()

    def _decode_all(self, pieces: Iterable[Piece], decode: Decode, stop: Stop) -> None:
        stage = self.progress.clock.stage
        outcomes = decode(self._jobs(pieces, stop))
        while True:
            with stage("decode"):
                outcome = next(outcomes, None)
            if outcome is None:
                break
            with stage("prepare"):
                self._take(outcome)
                for lanes in self.lanes:
                    lanes.collect()
            self._write_whole()
        with stage("prepare"):
            for lanes in self.lanes:
                lanes.flush()

    def _jobs(self, pieces: Iterable[Piece], stop: Stop) -> Iterator[Job]:
        for piece in pieces:
            work = piece.work
            for name, shards in self.shards.items():
                shards.expect(work.needed(name))
            for position, (row, video) in enumerate(
                zip(work.rows.tolist(), piece.videos, strict=True)
            ):
                if stop():
                    self.progress.stopped = True
                    return
                wanting = tuple(n for n, needs in work.needs.items() if needs[position])
                self._wanting[row] = wanting
                protocols = dict.fromkeys(map(self._protocol, wanting))
                yield Job(index=row, id=video.id, path=video.path, protocols=tuple(protocols))

    def _protocol(self, name: str) -> str:
        """Of a target."""
        return self.shards[name].target.protocol

    def _take(self, outcome: Outcome) -> None:
        row = outcome.job.index
        wanting = self._wanting.pop(row)
        lost = Seen(failure=outcome.failure)
        found = {name: outcome.seen.get(self._protocol(name), lost) for name in wanting}
        reasons = {name: self._reason(name, seen) for name, seen in found.items()}
        failures = {name: error.kept for name, error in reasons.items() if error}
        for name, reason in failures.items():
            self.shards[name].fail(row, reason)
        self.progress.video(self._failure(outcome, failures))
        if outcome.failure is not None:
            return
        assert outcome.info is not None
        there = [name for name in wanting if name not in failures]
        for lanes in self.lanes:
            lanes.add(row, outcome.job.id, outcome.seen, there)
        for name in there:
            if name in self.files:
                self.shards[name].put(row, self.files[name](outcome.info, found[name]))

    def _reason(self, name: str, seen: Seen) -> VideoError | None:
        """Why a target has no row of a video, where it has none."""
        return seen.failure or seen.lacking.get(self._outputs.get(name, ""))

    def _failure(self, outcome: Outcome, failures: Mapping[str, str]) -> Failure | None:
        """What is said of a video of which something could not be had."""
        if outcome.failure is not None:
            return Failure(id=outcome.job.id, reason=outcome.failure.kept)
        reasons = [f"{self._protocol(name)}: {reason}" for name, reason in failures.items()]
        if not reasons:
            return None
        return Failure(id=outcome.job.id, reason="; ".join(dict.fromkeys(reasons)), whole=False)

    def _write_whole(self) -> None:
        """Hand whole shards to the writer, and take note of what it has committed."""
        self.progress.device_busy = sum(device.busy for device in self.devices)
        for lanes in self.lanes:
            for failure in lanes.take_failures():
                self.progress.failed_late(failure)
        for shards in self.shards.values():
            for whole in shards.take_whole():
                self._write(shards, whole)
        self._note_commits(waiting=0, wait=False)

    def _write_all(self) -> None:
        """Everything that is done, whole shards or not; waits until it is in the store."""
        self._write_whole()
        for shards in self.shards.values():
            for begun in shards.take_begun():
                self._write(shards, begun)
        self._note_commits(waiting=0, wait=True)

    def _write(self, shards: OpenShards, shard: OpenShard) -> None:
        self._note_commits(waiting=WRITES_AHEAD - 1, wait=True)
        rows = int(shard.status.astype(bool).sum())
        commit = Commit(branch=shards.target.prefix, shard=shard.shard, rows=rows)
        self._writes.append((self._writer.submit(shards.commit, shard), commit))

    def _note_commits(self, *, waiting: int, wait: bool) -> None:
        """Until only `waiting` writes are under way; without `wait`, no more than are done."""
        while len(self._writes) > waiting and (wait or self._writes[0][0].done()):
            with self.progress.clock.stage("write"):
                future, commit = self._writes.popleft()
                future.result()
            self.progress.commit(commit)
