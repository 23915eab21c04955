"""What a run would compute, take and cost, without writing anything.

Time is measured on a few of the videos, and a range is given, since a few of many videos are no
average and other work on the machine counts; the rest is arithmetic over what the store says.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np

from extract.branch import Branch, load_branch
from extract.decoding.job import Job
from extract.decoding.pool import DecodePool
from extract.manifest.manifest import Manifest
from extract.manifest.texts import Texts
from extract.processes import default_workers
from extract.running import seen
from extract.running.batching import Batcher
from extract.running.lanes import lane_counts
from extract.running.pipeline import (
    Settings,
    branch_specs,
    buffer_bytes,
    by_protocol,
    decode_plan,
    offer_of,
    offers_of,
    open_shard_bytes,
)
from extract.running.run import Run
from extract.running.targets import (
    ChangedFiles,
    all_specs,
    check_details,
    existing,
    follows,
    open_status,
    target_name,
)
from extract.running.workload import Rows, Target, Workload, workload
from extract.views.protocol import Protocol
from features_store.place import LocalPlace, Location, open_place
from features_store.schema import BranchSpec
from features_store.store import Store

SAMPLE = 8
_ROUNDS = 3
"""How often a network is timed."""
_GIB = 2**30
Specs = Mapping[str, Sequence[BranchSpec]]
"""Groups by protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """A time for all the work, by the quicker and by the slower half of what was measured."""

    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        low, high = _duration(self.low), _duration(self.high)
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A run before it is run."""

    work: Workload
    targets: Sequence[Target]
    decode: Seconds
    """Of decoding, by all workers together."""
    compute: Seconds | None
    """That the devices are busy, all at once; None where they are not of this machine."""
    devices: int
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
            yield self._time_line(min(SAMPLE, len(work)))
        yield f"memory: {self.memory / _GIB:.2f} GiB at most, beside the networks"
        if self.free is None:
            yield f"disk: {self.bytes / _GIB:.3f} GiB needed in the object store"
        else:
            enough = "enough" if self.bytes < self.free else "NOT ENOUGH"
            yield f"disk: {self.bytes / _GIB:.3f} GiB needed, {self.free / _GIB:.1f} free: {enough}"

    def _time_line(self, sample: int) -> str:
        if self.compute is None:
            return (
                f"decoding takes {self.decode}, measured on {sample} videos; the devices are not "
                f"of this machine and were not measured"
            )
        decode, compute = self.decode, self.compute
        slower = max(decode, compute, key=lambda seconds: seconds.high)
        bound = "decoding" if slower is decode else "the device"
        several = f" x {self.devices}" if self.devices > 1 else ""
        return (
            f"about {slower}, bound by {bound} (decode {decode}, device{several} {compute}), "
            f"measured on {sample} videos"
        )


def estimate(run: Run) -> Estimate:
    """Look, measure, and write nothing."""
    settings, manifest = run.settings, run.manifest
    branches, measured = _branches(run)
    offers = offers_of(branches, settings)
    protocols = by_protocol(offers, settings)
    for protocol in protocols:
        check_details(run.store, protocol, settings.protocol_details(protocol))
    store = existing(run.store)
    rows, count = rows_of(store, manifest)
    changed = ChangedFiles(
        rows={name: _changed(store, manifest, settings, rows, name) for name in protocols},
        anew=settings.changed == "recompute",
    )
    own = branch_specs(store, offers, settings)
    targets = [
        _target(store, protocol, spec, settings, (count, changed))
        for protocol, specs in own.items()
        for spec in all_specs(specs)
    ]
    work = workload(rows, targets, retry_failed=settings.retry_failed).part(run.part)
    devices = len(run.devices) if run.cluster is None else run.cluster.runners
    workers = run.workers or default_workers(devices)
    decode, compute = Seconds(), Seconds() if measured else None
    if len(work):
        decode = _measure_decoding(manifest, branches, settings, len(work), workers)
        if measured:
            alone = _measure_computing(branches, own, settings, work)
            compute = Seconds(low=alone.low / devices, high=alone.high / devices)
    each = max(1, workers // devices)
    needed = {target.name: int(work.needs[target.name].sum()) for target in targets}
    shards = sum(min(t.shard_rows, needed[t.name]) * t.row_bytes for t in targets)
    memory = buffer_bytes(branches, settings, each) + open_shard_bytes(shards, each)
    return Estimate(
        work=work, targets=targets, decode=decode, compute=compute, devices=devices,
        free=_free(run.store), memory=memory * devices,
    )  # fmt: skip


def _branches(run: Run) -> tuple[list[Branch], bool]:
    """The networks, and whether they are on a device like those of the run."""
    import torch

    if not run.devices[0].startswith("cuda") or torch.cuda.is_available():
        return run.load_branches(), True
    # Ray's devices: the very same branches on a CPU, to know what they would write.
    requests = [replace(r, device=run.devices[0]) for r in run.requests()]
    here = [replace(r, device="cpu", precision=r.computes_in) for r in requests]
    return [load_branch(request) for request in here], False


def rows_of(store: Store | None, manifest: Manifest) -> tuple[Rows, int]:
    """The row that each video has or would get, and how many the store has then."""
    videos = len(manifest.videos)
    if store is None:
        return np.arange(videos), videos
    rows = store.videos.rows_of(manifest.table.ids)
    new = np.flatnonzero(rows < 0)
    rows[new] = store.videos.count + np.arange(len(new))
    return rows, store.videos.count + len(new)


def _changed(
    store: Store | None, manifest: Manifest, settings: Settings, rows: Rows, protocol: str
) -> Rows:
    """Rows whose files are not what they were when they were extracted."""
    group = seen.spec().group
    if settings.changed == "ignore" or store is None:
        return rows[:0]
    if group not in _groups(store, protocol):
        return rows[:0]
    there = rows < store.videos.count
    paths = Texts(compress(manifest.table.paths(), there))
    return seen.changed(store.open_branch(protocol, group), rows[there], paths)


def _target(
    store: Store | None,
    protocol: str,
    spec: BranchSpec,
    settings: Settings,
    known: tuple[int, ChangedFiles],
) -> Target:
    count, changed = known
    status = np.zeros(count, np.uint8)
    shard_rows = settings.shard_rows or spec.default_shard_rows()
    if store is not None and spec.group in _groups(store, protocol):
        branch = store.open_branch(protocol, spec.group)
        found = open_status(branch, changed)
        status[: len(found)] = found
        shard_rows = branch.shard_rows
    return Target(
        name=target_name(protocol, spec.group),
        status=status,
        shard_rows=shard_rows,
        row_bytes=sum(array.row_bytes for array in spec.arrays.values()),
        follows=follows(spec.group),
    )


def _groups(store: Store, protocol: str) -> list[str]:
    return store.branches(protocol) if protocol in store.protocols() else []


def _measure_decoding(
    manifest: Manifest, branches: Sequence[Branch], settings: Settings, count: int, workers: int
) -> Seconds:
    """For so many videos, from a few spread over the manifest."""
    picks = np.linspace(0, len(manifest.videos) - 1, min(SAMPLE, count)).astype(int)
    videos = [manifest.videos[position] for position in picks.tolist()]
    jobs = [Job(index=i, id=video.id, path=video.path) for i, video in enumerate(videos)]
    workers = min(workers, len(jobs))
    times = []
    with DecodePool(decode_plan(branches, settings, str(manifest.root)), workers=workers) as pool:
        for _ in pool.run(jobs[:workers]):  # start the workers before the clock
            pass
        for half in (jobs[::2], jobs[1::2] or jobs, jobs):
            start = time.perf_counter()
            for _ in pool.run(half):
                pass
            times.append((time.perf_counter() - start) / len(half))
    return Seconds(low=min(times) * count, high=max(times) * count)


def _measure_computing(
    branches: Sequence[Branch], specs: Specs, settings: Settings, work: Workload
) -> Seconds:
    """For all the work, by one device."""
    low = high = 0.0
    for branch, passes in _passes(branches, specs, settings, work):
        batcher = Batcher(branch, settings.batch)
        example = branch.example(min(batcher.size, 4 if branch.device.type == "cpu" else 512))
        branch.numpy(batcher.run(example))
        times = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            branch.numpy(batcher.run(example))
            times.append((time.perf_counter() - start) / len(example))
        low, high = low + min(times) * passes, high + max(times) * passes
    return Seconds(low=low, high=high)


def _passes(
    branches: Sequence[Branch], specs: Specs, settings: Settings, work: Workload
) -> Iterator[tuple[Branch, int]]:
    """Networks with what they have to compute, and for how many views."""
    for branch in branches:
        offer = offer_of(branch, settings)
        views = Protocol.parse(offer.protocol).view_count
        mine = [spec for spec in specs[offer.protocol] if offer.made(spec)]
        own = {target_name(offer.protocol, spec.group): spec for spec in mine}
        for groups, videos in lane_counts(list(own), work).items():
            yield branch.filling([own[group] for group in groups]), videos * views


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
