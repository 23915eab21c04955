"""A bundle at work on the rows of a store: every row gets a verdict, or the reason for none."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features_store.branch_arrays import BranchArrays
from features_store.store import Store
from features_store.table import Table
from heads.bundle import Bundle
from heads.measuring.conformal import rate_of
from heads.measuring.metrics import averaged
from heads.parts.novelty import Drift
from heads.scoring.findings import with_worst_part
from heads.scoring.neighbours import Neighbours
from heads.scoring.rows import Inputs, Scored, rows

_STREAMED = 8192
Status = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A bundle, and how its verdicts are put."""

    bundle: Bundle
    rate: str | None = None
    """Error rate of the conformal sets; None: 0.1 where the bundle has it."""
    neighbours: Neighbours | None = None
    drift: Drift | None = None
    """Collects how far the rows lie from what the bundle learnt from, where it knows that; None:
    one is begun."""
    parts: bool = True
    """Whether it is said which part looks worst, where the bundle looks at persons."""

    def __post_init__(self) -> None:
        known = self.bundle.familiar
        if self.drift is None and known is not None:
            object.__setattr__(self, "drift", Drift(known))
        object.__setattr__(self, "rate", rate_of(self.bundle.about.conformal, self.rate))

    def from_store(
        self,
        store: Store,
        protocol: str,
        wanted: NDArray[np.int64],
        status: Status | None = None,
        *,
        unlike: bool = False,
    ) -> pa.Table:
        """Rows of a store's videos (ascending row numbers), failed and missing ones too.

        `status`: theirs, where it was read already. `unlike`: say of each how far it lies from what
        was learnt; that takes longer than reading its features.
        """
        store = self.bundle.own(store, protocol)
        if status is None:
            status = self.status(store, protocol, wanted)
        probabilities, positions, near, far = [], [], [], []
        if (status == 1).any():
            mask = np.zeros(store.videos.count, bool)
            mask[wanted] = True
            for table in self._tables(store, protocol, mask):
                probabilities.append(self.bundle.predict(table))
                if self.drift is not None:
                    self.drift.add(self.bundle.head, table, averaged(probabilities[-1]))
                positions.append(np.searchsorted(wanted, table.rows))
                if unlike and self.bundle.familiar is not None:
                    far.append(self.bundle.familiar.unlike(self.bundle.head, table))
                if self.neighbours is not None:
                    near.append(self.neighbours.of(table))
        scored = Scored(
            positions=np.concatenate([np.empty(0, np.int64), *positions]),
            probabilities=np.concatenate(probabilities)
            if probabilities
            else np.empty((0, 1, len(self.bundle.classes)), np.float32),
            nearest=self.neighbours.joined(near) if self.neighbours is not None and near else None,
            unlike=np.concatenate(far) if far else None,
        )
        without = np.setdiff1d(np.arange(len(wanted)), scored.positions)
        errors = self._reasons(store, protocol, wanted, without)
        found = rows(store_inputs(store, wanted), scored, errors, self.bundle, self.rate)
        if not self.parts:
            return found
        return with_worst_part(found, self.bundle.head, store, protocol, wanted)

    def status(self, store: Store, protocol: str, wanted: NDArray[np.int64]) -> Status:
        """Per video the worst of the branches that the bundle needs: 0 missing, 2 failed, 1 ok."""
        worst = np.ones(len(wanted), np.uint8)
        for arrays in self._groups(self.bundle.own(store, protocol), protocol):
            status = arrays.status(wanted)
            worst = np.where(status == 1, worst, status).astype(np.uint8)
        return worst

    def _groups(self, store: Store, protocol: str) -> list[BranchArrays]:
        """The groups that hold what the head needs, each once."""
        found = [store.find(protocol, key)[0] for key in self.bundle.head.keys]
        return list({arrays.prefix: arrays for arrays in found}.values())

    def _tables(self, store: Store, protocol: str, mask: NDArray[np.bool_]) -> Iterator[Table]:
        head = self.bundle.head
        if head.lazy:
            yield store.table(
                head.keys, protocol=protocol, where=mask, allow_missing=True, lazy=head.lazy
            )
            return
        yield from store.stream(
            head.keys, protocol=protocol, where=mask, allow_missing=True, batch=_STREAMED
        )

    def _reasons(
        self, store: Store, protocol: str, wanted: NDArray[np.int64], without: NDArray[np.int64]
    ) -> dict[int, str]:
        """Position → why it has no scores."""
        if not len(without):
            return {}
        known: dict[int, str] = {}
        for arrays in self._groups(store, protocol):
            known |= arrays.errors(wanted[without])
        return {
            position: known.get(int(wanted[position]), "its features are not in the store")
            for position in without.tolist()
        }


def store_inputs(store: Store, wanted: NDArray[np.int64]) -> Inputs:
    column = store.videos.column
    labels = column("label")[wanted]
    names = [*store.classes, ""]
    return Inputs(
        ids=column("id")[wanted].tolist(),
        paths=column("path")[wanted].tolist(),
        sources=column("source")[wanted].tolist(),
        labels=[names[label] for label in labels.tolist()],
    )
