"""Promises of a fine-tuned bundle, from labelled videos that it was told nothing of.

Out of fold they cannot be had: each fold would be a fine-tuning of its own. The tuned network looks
at these videos as it looked at the deciding ones, so that none of its features need be extracted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from heads.bundle import Bundle
from heads.data.rows import Rows
from heads.data.splits import labelled, split_or_store
from heads.finetuning.checks import check_same_beside
from heads.finetuning.data import Source
from heads.finetuning.setup import Prepared
from heads.judging.papers import calibrated, check_calibrating


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrating:
    """Videos that calibrate once training has ended."""

    source: Source
    what: str
    left_out: int
    """Videos that were learnt from or decided by."""

    def give(self, ready: Prepared, bundle: Bundle | None) -> Bundle | None:
        """The bundle with its promises. Every process judges; those without a bundle have none."""
        probabilities, table = ready.finetuner.probabilities(self.source), self.source.table
        if bundle is None:
            return None
        labels = table.labels.astype(np.int64)
        return calibrated(bundle, probabilities, labels, table.ids.tolist(), self.what)


@contextmanager
def calibrating(ready: Prepared, where: str) -> Iterator[Calibrating]:
    """The videos of SPLIT|STORE, checked before anything is trained."""
    run = ready.finetuner.run
    store, split = split_or_store(ready.request.store, where)
    mask, ids = labelled(store, split), store.videos.column("id")
    known = Rows.made(
        learnt=run.train.table.ids.tolist(), decided=run.validation.table.ids.tolist()
    )
    classes = run.train.table.classes
    new = check_calibrating(known, classes, ids[mask].tolist(), store.classes, where)
    mask[np.flatnonzero(mask)[~new]] = False
    source = ready.source(mask, store)
    try:
        check_same_beside(run.train.table, source.table, ready.beside)
        what = f"split {split} of {store.place.name}"
        yield Calibrating(source=source, what=what, left_out=int((~new).sum()))
    finally:
        source.close()
