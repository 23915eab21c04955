"""Which videos are learnt from and which decide, out of a store's splits or made from ids.

A made split depends on the videos' ids alone, so it is the same tomorrow and in another store.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadProtocol
from extract.views.damage import CANONICAL
from extract.views.protocol import Protocol
from features_store.errors import AmbiguousKey, UnknownKey
from features_store.schema import Status
from features_store.store import Store
from features_store.table import Table
from heads.data.folds import fold_numbers, groups_of, with_stopping
from heads.data.forged import by_view, is_forged
from heads.data.sides import Data, Mask, id_hashes
from heads.errors import BadTable, WrongFeatures
from heads.head import Head

TRAIN, VALIDATION, TEST = "train", "val", "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which features of a store are used, and how its videos are split."""

    protocol: str | None = None
    """Of the views that are learnt from; None: the store's only one, or its train-V."""
    also: Sequence[str] = ()
    """Protocols whose views of the same videos are learnt from too, of other qualities."""
    judging: str | None = None
    """Of the views that decide; None: `val` where the deciding videos have it, else as above."""
    validation: float | None = None
    """Share of the training videos that decide, by id; None: the videos of split `val`; 0: none do,
    every video of splits `train` and `val` is learnt from."""
    every: bool = False
    """Learn from the videos of every split, those of `test` too, as what is handed out may."""
    sources: Sequence[str] = ()
    """Only these; all of them when empty."""
    stopping: float | None = None
    """Share of the videos learnt from that decides when to stop, so that the others only judge."""
    group_by: str | None = None
    """What videos may share that must not be on both sides; see `folds.groups_of`."""

    def load(self, store: Store, head: Head) -> Data:
        """Both tables; only labelled videos."""
        data = self.load_sides(store, head, *self.masks(store))
        if self.stopping is None:
            return data
        if not 0 < self.stopping <= 0.5:
            raise BadTable(f"stopping {self.stopping:g}: give more than 0, up to 0.5.")
        return with_stopping(data, self.stopping, groups_of(store, self.group_by))

    def load_twice(self, store: Store, head: Head, videos: Mask) -> Data:
        """These videos as they are learnt from, and as they decide: for folds."""
        return self.load_sides(store, head, videos, videos)

    def load_sides(self, store: Store, head: Head, learning: Mask, deciding: Mask) -> Data:
        """Tables of the videos that are learnt from, and of those that decide."""
        protocol = self.protocol or training_protocol(store)
        train = by_view(store.table(head.keys, protocol=protocol, where=learning, lazy=head.lazy))
        for name in self.also:
            other = store.table(head.keys, protocol=name, where=learning, lazy=head.lazy)
            train = _beside(train, by_view(other), head)
        if not deciding.any():
            return Data(train=train, validation=train.take(np.zeros(len(train), bool)))
        val = like(protocol, "val")
        found = None if is_forged(protocol) else _val(store, val, train.fingerprints, deciding)
        judging = self.judging or found or protocol
        validation = by_view(
            store.table(head.keys, protocol=judging, where=deciding, lazy=head.lazy)
        )
        if train.fingerprints != validation.fingerprints:
            raise WrongFeatures(
                f"{store.place.name} has features of different networks under {protocol} and "
                f"{judging}; name them in full, or give --validation-protocol {protocol}."
            )
        return Data(train=train, validation=validation)

    def labelled(self, store: Store) -> Mask:
        """Videos of the chosen sources that have a label, of every split."""
        known: Mask = store.videos.column("label") >= 0
        if self.sources:
            known &= np.isin(store.videos.column("source"), np.array(self.sources, "T"))
        return known

    def masks(self, store: Store) -> tuple[Mask, Mask]:
        """Over all videos of the store: learnt from, and deciding."""
        known = self.labelled(store)
        train = known & in_split(store, TRAIN)
        validation = known & in_split(store, VALIDATION)
        if self.every and self.validation is None:
            raise BadTable("--every-split goes with --validation; 0 learns from every video.")
        if self.validation is not None:
            if not 0 <= self.validation < 1:
                raise BadTable(f"validation {self.validation:g}: give 0 or more, less than 1.")
            train = train if train.any() else known & ~in_split(store, TEST)
            train = known if self.every else train
            if not self.validation:
                return train | validation, np.zeros_like(train)
            deciding = self._share(store, train, self.validation)
            return train & ~deciding, deciding
        if not train.any() or not validation.any():
            raise BadTable(
                f"{store.place.name} has {int(train.sum())} labelled videos of split 'train' and "
                f"{int(validation.sum())} of 'val'; both are needed. Give --validation 0.2 to take "
                f"a fifth of the training videos, chosen by their ids."
            )
        return train, validation

    def _share(self, store: Store, videos: Mask, share: float) -> Mask:
        groups = groups_of(store, self.group_by)
        if groups is None:
            return _share_of_each_class(store, videos, share)
        rows, chosen = np.flatnonzero(videos), np.zeros(len(videos), bool)
        ids, labels = (store.videos.column(name)[rows] for name in ("id", "label"))
        folds = fold_numbers(ids, labels, max(2, round(1 / share)), groups[rows])
        chosen[rows[folds == 0]] = True
        return chosen

    def crossing(self, store: Store) -> str:
        """How many deciding and test videos share a group with one that is learnt from."""
        groups = groups_of(store, self.group_by)
        if groups is None:
            return ""
        learning, deciding = self.masks(store)
        known = set(groups[learning].tolist())
        masks = {"deciding": deciding, "test": in_split(store, TEST) & ~learning & ~deciding}
        found = {
            name: sum(group in known for group in groups[mask].tolist())
            for name, mask in masks.items()
        }
        said = [f"{count} {name} videos" for name, count in found.items() if count]
        if not said:
            return ""
        return f"careful: {' and '.join(said)} share a group with a video that is learnt from"


def _beside(train: Table, other: Table, head: Head) -> Table:
    """Views of the same videos in another quality, by the same networks."""
    if head.lazy and any(key in head.lazy for key in head.keys):
        raise BadTable(f"--also puts views side by side in memory; head {head.name} reads tokens.")
    if train.fingerprints != other.fingerprints:
        raise WrongFeatures(
            f"{train.protocol} and {other.protocol} have features of different networks; name them "
            f"in full."
        )
    views, own = (next(iter(each.arrays.values())).shape[1] for each in (other, train))
    if views != own // train.qualities:
        raise BadTable(
            f"{other.protocol} has {views} views and {train.protocol} {own // train.qualities}; "
            f"--also takes the same views of another quality."
        )
    return train.beside(other)


def in_split(store: Store, split: str) -> Mask:
    """Also videos that two lists name (`val+test`)."""
    found = store.videos.column("split")
    both = {str(name) for name in np.unique(found) if split in str(name).split("+")}
    return np.isin(found, np.array(sorted(both) or [split], np.dtypes.StringDType()))


def labelled(store: Store, split: str) -> Mask:
    """Its labelled videos of a split, or `all`."""
    mask: Mask = store.videos.column("label") >= 0
    if split != "all":
        mask &= in_split(store, split)
    if not mask.any():
        raise BadTable(f"{store.place.name} has no labelled video of split {split!r}; --split all?")
    return mask


def split_or_store(store: Store, where: str) -> tuple[Store, str]:
    """What SPLIT|STORE means: a split of this store, or all of another one."""
    if "://" in where or (Path(where) / "zarr.json").exists():
        return Store.open(where), "all"
    return store, where


def _share_of_each_class(store: Store, videos: Mask, share: float) -> Mask:
    """The videos of each class whose ids hash lowest; one at least of a class that has two."""
    chosen = np.zeros(len(videos), bool)
    labels = store.videos.column("label")
    for label in np.unique(labels[videos]):
        rows = np.flatnonzero(videos & (labels == label))
        order = rows[np.argsort(id_hashes(store.videos.column("id")[rows]))]
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        chosen[order[: max(count, 0)]] = True
    return chosen


def held_out(store: Store, head: Head, train: Table) -> Table | None:
    """The test videos, for a head that learnt from such a table; None: there are none."""
    mask = (store.videos.column("label") >= 0) & in_split(store, TEST)
    if not mask.any():
        return None
    names = testing_protocols(store, train.protocol)
    protocol = usable(store, names, train.fingerprints, mask) or train.protocol
    return store.table(head.keys, protocol=protocol, where=mask, lazy=head.lazy)


def testing_protocols(store: Store, learnt: str) -> list[str]:
    """Those of undamaged videos, encoded as those that were learnt from: the one with the most
    views of testing first, `val` last."""
    tests = []
    for name in store.protocols():
        with contextlib.suppress(BadProtocol):  # a name of the user's own
            tests.append(Protocol.parse(name))
    canonical = is_canonical(learnt)
    tests = [
        one
        for one in tests
        if one.kind == "test" and one.perturbation is None and one.canonical == canonical
    ]
    names = [one.name for one in sorted(tests, key=lambda one: -one.view_count)]
    return [*names, like(learnt, "val")]


def is_canonical(protocol: str) -> bool:
    """Whether every video was encoded the same way before its views were taken."""
    return f"+{CANONICAL}" in protocol


def like(protocol: str, name: str) -> str:
    """The protocol of that name, of videos encoded as those of the other."""
    return f"{name}+{CANONICAL}" if is_canonical(protocol) else name


def _val(store: Store, name: str, fingerprints: Mapping[str, str], mask: Mask) -> str | None:
    """`val`, unless it lacks something or does not say which network is meant."""
    try:
        return usable(store, [name], fingerprints, mask)
    except AmbiguousKey:
        return None


def usable(
    store: Store, names: Sequence[str], fingerprints: Mapping[str, str], mask: Mask
) -> str | None:
    """The first of these protocols that has all these videos' features by these very networks."""
    known, rows = store.protocols(), np.flatnonzero(mask)
    for name in names:
        if name in known and all(
            _has(store, name, key, fingerprint, rows) for key, fingerprint in fingerprints.items()
        ):
            return name
    return None


def _has(store: Store, protocol: str, key: str, fingerprint: str, rows: NDArray[np.int64]) -> bool:
    try:
        found, _ = store.find(protocol, key)
    except UnknownKey:
        return False
    same = found.spec.fingerprint == fingerprint
    return same and bool((found.status(rows) != Status.MISSING).all())


def training_protocol(store: Store) -> str:
    """The one protocol, or the one with training views."""
    protocols = store.protocols()
    trains = [name for name in protocols if name.startswith("train-")]
    if len(protocols) == 1 or len(trains) == 1:
        return trains[0] if trains else protocols[0]
    raise AmbiguousKey(f"Which protocol? The store has {', '.join(protocols)}; name one.")
