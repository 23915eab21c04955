"""What a run would compute, take and cost, without writing anything.

Time is measured on a few of the videos; the rest is arithmetic over what the store says.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from extract.branch import Branch
from extract.decoding.job import Job
from extract.decoding.pool import DecodePool
from extract.manifest.manifest import Manifest
from extract.running.batching import Batcher
from extract.running.pipeline import Settings, decode_plan, memory_needed
from extract.running.workload import Part, Target, Workload, workload
from extract.views.protocol import Protocol
from features_store import facts
from features_store.errors import NotAStore
from features_store.place import LocalPlace, Location, open_place
from features_store.schema import BranchSpec
from features_store.store import Store

SAMPLE = 8
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A run before it is run."""

    work: Workload
    targets: Sequence[Target]
    decode: float
    """Seconds of decoding, by all workers together."""
    compute: float
    """Seconds that the device is busy."""
    free: int | None
    """Bytes on the store's disk; None for an object store."""
    memory: int
    """Bytes at most, beside the networks."""

    @property
    def bytes(self) -> int:
        return sum(
            int(self.work.needs[target.name].sum()) * target.row_bytes for target in self.targets
        )

    def lines(self) -> Iterator[str]:
        work = self.work
        done = work.asked - len(work) - work.failed
        yield (
            f"{work.asked} videos asked for, {len(work)} to decode here; {max(done, 0)} done or "
            f"another part's, {work.failed} failed before (--retry-failed)"
        )
        for target in self.targets:
            need = int(work.needs[target.name].sum())
            yield f"  {target.name}: {need} videos, {need * target.row_bytes / _GIB:.3f} GiB"
        if len(work):
            seconds = max(self.decode, self.compute)
            bound = "decoding" if self.decode > self.compute else "the device"
            yield (
                f"about {_duration(seconds)}, bound by {bound} (decode {_duration(self.decode)}, "
                f"device {_duration(self.compute)}), measured on {min(SAMPLE, len(work))} videos"
            )
        yield f"memory: {self.memory / _GIB:.2f} GiB at most, beside the networks"
        if self.free is None:
            yield f"disk: {self.bytes / _GIB:.3f} GiB needed in the object store"
        else:
            enough = "enough" if self.bytes < self.free else "NOT ENOUGH"
            yield f"disk: {self.bytes / _GIB:.3f} GiB needed, {self.free / _GIB:.1f} free: {enough}"


def estimate(
    manifest: Manifest,
    where: Location,
    branches: Sequence[Branch],
    settings: Settings,
    part: Part,
    workers: int,
) -> Estimate:
    """Look, measure, and write nothing."""
    views = Protocol.parse(settings.protocol).view_count
    try:
        store: Store | None = Store.open(where)
    except NotAStore:
        store = None
    known = {} if store is None else store.videos.rows_by_id()
    count = len(known)
    rows = np.empty(len(manifest.videos), np.int64)
    for position, video in enumerate(manifest.videos):
        row = known.get(video.id)
        if row is None:
            row, count = count, count + 1
        rows[position] = row
    specs = [branch.spec(views) for branch in branches]
    files = facts.spec() if store is None else facts.spec_in(store, settings.protocol)
    targets = [_target(store, spec, settings, count) for spec in [*specs, files]]
    work = workload(rows, targets, retry_failed=settings.retry_failed).part(part)
    decode = compute = 0.0
    if len(work):
        decode, compute = _measure(manifest, branches, settings, work, workers)
    needed = {target.name: int(work.needs[target.name].sum()) for target in targets}
    shards = sum(min(t.shard_rows, needed[t.name]) * t.row_bytes for t in targets)
    return Estimate(
        work=work, targets=targets, decode=decode, compute=compute, free=_free(where),
        memory=memory_needed(branches, settings, workers, shards),
    )  # fmt: skip


def _target(store: Store | None, spec: BranchSpec, settings: Settings, count: int) -> Target:
    status = np.zeros(count, np.uint8)
    shard_rows = settings.shard_rows or spec.default_shard_rows()
    if store is not None and spec.group in _groups(store, settings.protocol):
        branch = store.open_branch(settings.protocol, spec.group)
        found = branch.status()
        status[: len(found)] = found
        shard_rows = branch.shard_rows
    row_bytes = sum(array.row_bytes for array in spec.arrays.values())
    return Target(name=spec.group, status=status, shard_rows=shard_rows, row_bytes=row_bytes)


def _groups(store: Store, protocol: str) -> list[str]:
    return store.branches(protocol) if protocol in store.protocols() else []


def _measure(
    manifest: Manifest, branches: Sequence[Branch], settings: Settings, work: Workload, workers: int
) -> tuple[float, float]:
    """Seconds for all the work, from a few videos spread over the manifest."""
    picks = np.linspace(0, len(manifest.videos) - 1, min(SAMPLE, len(work))).astype(int)
    videos = [manifest.videos[position] for position in picks.tolist()]
    jobs = [Job(index=i, id=video.id, path=video.path) for i, video in enumerate(videos)]
    workers = min(workers, len(jobs))
    with DecodePool(decode_plan(branches, settings, str(manifest.root)), workers=workers) as pool:
        for _ in pool.run(jobs[:workers]):  # start the workers before the clock
            pass
        start = time.perf_counter()
        for _ in pool.run(jobs):
            pass
        decode = (time.perf_counter() - start) / len(jobs)
    views = Protocol.parse(settings.protocol).view_count
    compute = 0.0
    for branch in branches:
        batcher = Batcher(branch, settings.batch)
        example = branch.example(min(batcher.size, 4 if branch.device.type == "cpu" else 512))
        batcher.run(example)
        start = time.perf_counter()
        branch.numpy(batcher.run(example))
        per_view = (time.perf_counter() - start) / len(example)
        need = int(work.needs[branch.spec(views).group].sum())
        compute += need * views * per_view
    return decode * len(work), compute


def _free(where: Location) -> int | None:
    place = open_place(where)
    if not isinstance(place, LocalPlace):
        return None
    folder = Path(os.path.abspath(place.name))  # noqa: PTH100, links stay links
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 3 * 86400 else f"{seconds / 86400:.1f} days"
