"""One extraction from end to end: a manifest, a store, branches, and what is to be done.

extraction = Extraction.begin(manifest, "hfv.zarr", branches, Settings(protocol="val"))
summary = extraction.run(workers=8)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from extract.branch import Branch
from extract.decoding.pool import DecodePool
from extract.errors import BadSetting
from extract.manifest.manifest import Manifest, Video
from extract.manifest.texts import Texts
from extract.offer import Offer
from extract.processes import default_workers
from extract.running import seen
from extract.running.flow import Stop
from extract.running.lanes import lane_counts
from extract.running.pipeline import (
    Pipeline,
    Settings,
    branch_specs,
    buffer_bytes,
    by_protocol,
    decode_plan,
    offer_of,
    offers_of,
    open_arrays,
    open_shard_bytes,
)
from extract.running.progress import Progress, Tell
from extract.running.summary import Summary
from extract.running.targets import (
    ChangedFiles,
    Targets,
    check_details,
    existing,
    missing,
    of_protocol,
    own_targets,
    target_name,
)
from extract.running.workload import Part, Piece, Rows, Workload
from features_store.errors import NotAStore, StoreExists
from features_store.place import Location
from features_store.schema import Status
from features_store.store import Store

UNLABELLED = ("unlabelled", ("unlabelled",))
"""Scheme and classes of a store whose videos have no labels."""


def open_store(where: Location, manifest: Manifest) -> Store:
    """The store of a manifest's videos, made where there is none."""
    scheme = manifest.scheme
    name, classes = (scheme.name, scheme.classes) if scheme else UNLABELLED
    try:
        store = Store.open(where)
    except NotAStore:
        try:
            return Store.create(where, scheme=name, classes=classes)
        except StoreExists:  # another process was quicker, or it is a folder of something else
            store = Store.open(where)
    if scheme is not None and (store.scheme, store.classes) != (name, tuple(classes)):
        raise BadSetting(
            f"{store.place.name} has label scheme {store.scheme} ({', '.join(store.classes)}), "
            f"the manifest has {name} ({', '.join(classes)}). Labels of two schemes never mix; "
            f"use another store."
        )
    return store


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """A run against its store: what there is, and the work that is left."""

    manifest: Manifest
    store: Store
    settings: Settings
    targets: Targets
    work: Workload
    rows: Rows
    """Of each of the manifest's videos, in the store."""
    order: Rows
    """Positions in the manifest, by ascending row."""
    changed: Rows
    """Videos whose files are not what they were when they were extracted."""
    branches: Sequence[Branch] = ()
    """Loaded here; none where other processes hold them."""

    @staticmethod
    def begin(
        manifest: Manifest,
        where: Location,
        branches: Sequence[Branch],
        settings: Settings,
        part: Part | None = None,
    ) -> "Extraction":
        """Open or make the store, add its videos, and see what is missing."""
        offers = offers_of(branches, settings)
        return Extraction.planned(manifest, where, offers, settings, part, branches)

    @staticmethod
    def planned(
        manifest: Manifest,
        where: Location,
        offers: Sequence[Offer],
        settings: Settings,
        part: Part | None = None,
        branches: Sequence[Branch] = (),
    ) -> "Extraction":
        """The same by what the branches give; `branches` are needed to `run` it here."""
        protocols = by_protocol(offers, settings)
        for protocol in protocols:
            check_details(where, protocol, settings.protocol_details(protocol))
        branch_specs(existing(where), offers, settings)  # refuses before anything is made
        store = open_store(where, manifest)
        rows = store.add_videos(manifest.columns(), keep_existing=True)
        targets = open_arrays(store, offers, settings)
        found: dict[str, Rows] = {}
        if settings.changed != "ignore":
            paths = Texts(manifest.table.paths())
            files = {name: targets[target_name(name, seen.spec().group)] for name in protocols}
            found = {name: seen.changed(file, rows, paths) for name, file in files.items()}
        changed = ChangedFiles(rows=found, anew=settings.changed == "recompute")
        work = missing(targets, rows, changed, retry_failed=settings.retry_failed)
        work = work.part(part or Part())
        if changed.anew:
            mine = {name: np.intersect1d(own, work.rows) for name, own in changed.rows.items()}
            _forget(store, targets, mine)
        return Extraction(
            manifest=manifest,
            store=store,
            settings=settings,
            targets=targets,
            work=work,
            rows=rows,
            order=np.argsort(rows),
            changed=changed.every,
            branches=branches,
        )

    def pieces(self, processes: int = 1) -> Iterator[Piece]:
        """The work in pieces that so many processes do side by side, without one waiting long."""
        for work in self.work.pieces(processes):
            yield Piece(work=work, videos=[self.video(row) for row in work.rows.tolist()])

    def video(self, row: int) -> Video:
        place = np.searchsorted(self.rows, row, sorter=self.order)
        return self.manifest.videos[int(self.order[place])]

    def memory(self, workers: int) -> int:
        """Bytes that `run` may take beside the networks."""
        lanes = [
            branch for branch in self.branches for _ in lane_counts(self._own(branch), self.work)
        ]
        buffers = buffer_bytes(lanes or self.branches, self.settings, workers)
        return buffers + self.shard_memory(workers)

    def _own(self, branch: Branch) -> list[str]:
        return list(own_targets(offer_of(branch, self.settings), self.targets))

    def shard_memory(self, workers: int) -> int:
        """Bytes of shards that are being filled, in each process that fills some."""
        shard_bytes = sum(
            arrays.shard_rows * sum(array.row_bytes for array in arrays.spec.arrays.values())
            for arrays in self.targets.values()
        )
        return open_shard_bytes(shard_bytes, workers)

    def run(
        self,
        *,
        workers: int | None = None,
        log: Path | None = None,
        bar: bool = True,
        stop: Stop = lambda: False,
        tell: Tell | None = None,
    ) -> Summary:
        """Do what is missing, with decode workers on this machine. `tell` hears how far it is."""
        wanted = max(1, min(workers or default_workers(), len(self.work)))
        plan = decode_plan(self.branches, self.settings, str(self.manifest.root))
        pipeline = Pipeline(self.targets, self.branches, self.settings)
        with (
            Progress(total=len(self.work), log=log, bar=bar, tell=tell) as progress,
            DecodePool(plan, workers=wanted) as pool,
        ):
            pipeline.run(self.pieces(), pool.run, progress, stop)
            summary = progress.summary()
        self.note_files()
        return summary

    def note_files(self) -> None:
        """At the end: what was seen of the files goes into the videos table."""
        unknown = self.store.videos.column("digest")[self.rows] == ""
        for protocol in dict.fromkeys(arrays.protocol for arrays in self.targets.values()):
            mine = [name for name, each in self.targets.items() if each.protocol == protocol]
            done = np.logical_or.reduce([self.work.needs[name] for name in mine])
            just_done = np.isin(self.rows, self.work.rows[done])
            seen.fill_videos(self.store, protocol, self.rows[unknown | just_done])


def _forget(store: Store, targets: Targets, anew: Mapping[str, Rows]) -> None:
    """Take back what is known of files that changed, what was seen of them last: killed in
    between, the next run still knows that they changed."""
    for protocol, rows in anew.items():
        _check_others(store, protocol, targets, rows)
    for protocol, rows in anew.items():
        own = of_protocol(targets, protocol)
        for _, arrays in sorted(own.items(), key=lambda target: seen.is_seen(target[0])):
            arrays.forget_rows(rows)


def _check_others(store: Store, protocol: str, targets: Targets, anew: Rows) -> None:
    """Refuse to compute changed files anew for some of the branches that have them."""
    for group in store.branches(protocol):
        if target_name(protocol, group) in targets:
            continue
        old = int((store.read_branch(protocol, group).status(anew) == Status.OK).sum())
        if old:
            raise BadSetting(
                f"{protocol}/{group} holds {old} of the changed videos as they were. Name all "
                f"branches of the protocol with --changed recompute, or remove this one with "
                f"`telltale store gc --branch {protocol}/{group}`: numbers of two versions of a "
                f"file never mix."
            )
