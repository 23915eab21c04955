"""One extraction from end to end: a manifest, a store, branches, and what is to be done.

extraction = Extraction.begin(manifest, "hfv.zarr", branches, Settings(protocol="val"))
summary = extraction.run(workers=8)
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from extract.branch import Branch
from extract.decoding.job import Plan
from extract.decoding.pool import DecodePool
from extract.errors import BadSetting
from extract.manifest.manifest import Manifest, Video
from extract.running.pipeline import Pipeline, Settings, Stop, decode_plan
from extract.running.progress import Progress, Summary
from extract.running.workload import Part, Rows, Workload
from features_store.errors import NotAStore, StoreExists
from features_store.place import Location
from features_store.store import Store

UNLABELLED = ("unlabelled", ("unlabelled",))
"""Scheme and classes of a store whose videos have no labels."""


def default_workers() -> int:
    """A decode worker per core that we may use, at most 16."""
    return max(1, min(16, len(os.sched_getaffinity(0))))


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
    """Everything that a run needs, and the work that is left."""

    manifest: Manifest
    store: Store
    pipeline: Pipeline
    work: Workload
    rows: Rows
    """Of each of the manifest's videos, in the store."""
    order: Rows
    """Positions in the manifest, by ascending row."""

    @staticmethod
    def begin(
        manifest: Manifest,
        where: Location,
        branches: Sequence[Branch],
        settings: Settings,
        part: Part | None = None,
    ) -> "Extraction":
        """Open or make the store, add its videos, and see what is missing."""
        store = open_store(where, manifest)
        rows = store.add_videos(manifest.columns(), keep_existing=True)
        pipeline = Pipeline(store, branches, settings)
        work = pipeline.work(rows).part(part or Part())
        return Extraction(
            manifest=manifest,
            store=store,
            pipeline=pipeline,
            work=work,
            rows=rows,
            order=np.argsort(rows),
        )

    def only_blocks(self, blocks: Sequence[int]) -> "Extraction":
        return replace(self, work=self.work.only_blocks(blocks))

    @property
    def plan(self) -> Plan:
        """What decode workers have to know."""
        pipeline = self.pipeline
        branches = list(pipeline.branches.values())
        return decode_plan(branches, pipeline.settings, str(self.manifest.root))

    def video(self, row: int) -> Video:
        place = np.searchsorted(self.rows, row, sorter=self.order)
        return self.manifest.videos[int(self.order[place])]

    def run(
        self,
        *,
        workers: int | None = None,
        log: Path | None = None,
        bar: bool = True,
        stop: Stop = lambda: False,
    ) -> Summary:
        """Do what is missing, with decode workers on this machine."""
        wanted = max(1, min(workers or default_workers(), len(self.work)))
        with (
            Progress(total=len(self.work), log=log, bar=bar) as progress,
            DecodePool(self.plan, workers=wanted) as pool,
        ):
            return self.pipeline.run(self.work, self.video, pool.run, progress, stop)
