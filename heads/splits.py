"""Which videos are learnt from and which decide, out of a store's splits or made from ids.

A made split depends on the videos' ids alone, so it is the same tomorrow and in another store.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features_store.errors import AmbiguousKey
from features_store.store import Store
from features_store.table import Table
from heads.errors import BadTable
from heads.head import Head

Mask = NDArray[np.bool_]
TRAIN, VALIDATION, TEST = "train", "val", "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What a head is trained on."""

    train: Table
    validation: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which features of a store are used, and how its videos are split."""

    protocol: str | None = None
    validation: float | None = None
    """Share of the training videos that decide, by id; None: the videos of split `val`."""
    sources: Sequence[str] = ()
    """Only these; all of them when empty."""

    def load(self, store: Store, head: Head) -> Data:
        """Both tables; only labelled videos."""
        masks = self.masks(store)
        protocol = self.protocol or training_protocol(store)
        table = store.table(head.keys, protocol=protocol, where=masks[0] | masks[1], lazy=head.lazy)
        learning = masks[0][table.rows]
        return Data(train=table.take(learning), validation=table.take(~learning))

    def masks(self, store: Store) -> tuple[Mask, Mask]:
        """Over all videos of the store: learnt from, and deciding."""
        known = store.videos.column("label") >= 0
        if self.sources:
            known &= np.isin(store.videos.column("source"), np.array(self.sources, "T"))
        train = known & in_split(store, TRAIN)
        validation = known & in_split(store, VALIDATION)
        if self.validation is not None:
            if not 0 < self.validation < 1:
                raise BadTable(f"validation {self.validation:g}: give more than 0, less than 1.")
            train = train if train.any() else known & ~in_split(store, TEST)
            deciding = _share_of_each_class(store, train, self.validation)
            return train & ~deciding, deciding
        if not train.any() or not validation.any():
            raise BadTable(
                f"{store.place.name} has {int(train.sum())} labelled videos of split 'train' and "
                f"{int(validation.sum())} of 'val'; both are needed. Give --validation 0.2 to take "
                f"a fifth of the training videos, chosen by their ids."
            )
        return train, validation


def in_split(store: Store, split: str) -> Mask:
    """Also videos that two lists name (`val+test`)."""
    found = store.videos.column("split")
    both = {str(name) for name in np.unique(found) if split in str(name).split("+")}
    return np.isin(found, np.array(sorted(both) or [split], np.dtypes.StringDType()))


def by_id(ids: NDArray[np.generic], share: float) -> Mask:
    """About that share of the videos, by a hash of their ids."""
    mask: Mask = _hashes(ids) < share
    return mask


def _hashes(ids: NDArray[np.generic]) -> NDArray[np.float64]:
    """A number in [0, 1) per id."""
    first = [hashlib.sha256(str(video).encode()).digest()[:8] for video in ids]
    return np.array([int.from_bytes(part) for part in first], np.float64) / 2**64


def _share_of_each_class(store: Store, videos: Mask, share: float) -> Mask:
    """The videos of each class whose ids hash lowest; one at least of a class that has two."""
    chosen = np.zeros(len(videos), bool)
    labels = store.videos.column("label")
    for label in np.unique(labels[videos]):
        rows = np.flatnonzero(videos & (labels == label))
        order = rows[np.argsort(_hashes(store.videos.column("id")[rows]))]
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        chosen[order[: max(count, 0)]] = True
    return chosen


def training_protocol(store: Store) -> str:
    """The one protocol, or the one with training views."""
    protocols = store.protocols()
    trains = [name for name in protocols if name.startswith("train-")]
    if len(protocols) == 1 or len(trains) == 1:
        return trains[0] if trains else protocols[0]
    raise AmbiguousKey(f"Which protocol? The store has {', '.join(protocols)}; name one.")
