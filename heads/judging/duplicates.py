"""Videos that look like copies of one another, by the hashes of their frames.

A test video that also lies in the training set, re-encoded or not, is remembered, not judged.
What is compared is a few frames at the same places of each video: a copy that was trimmed is not
found. Videos need not all be compared with each other: of two copies some frame differs in four
bits at most, so that it agrees in two of six parts of its bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from features_store import frame_hashes
from features_store.errors import UnknownKey
from features_store.store import Store

CLOSE_BITS = 4.0
"""Of 64, on average over the frames compared. Re-encoding changes one or two."""
RULE = f"frames differ in at most {CLOSE_BITS:g} of 64 bits on average"
_FEWEST_FRAMES = 2
_PARTS = int(CLOSE_BITS) + 2
_MASKS = np.array(
    [
        sum(1 << bit for bit in range(64) if bit % _PARTS in parts)
        for parts in combinations(range(_PARTS), 2)
    ],
    np.uint64,
)
"""Two of six parts each; a part is every sixth bit, so that none is a plain sky alone."""
_PAIRS = 1 << 18
"""Pairs that are compared at a time."""
_NEIGHBOURS = 256
"""Of videos that agree in two parts, so many are compared with each, and once only where so many
have the very same frame, such as a title card: copies agree elsewhere too."""
Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Near-duplicates between two sets of a store's videos."""

    looked_at: int
    """Videos of the first set whose frames have hashes."""
    pairs: NDArray[np.int64]
    """(pairs, 2): rows of the store, first set and second."""

    @property
    def videos(self) -> int:
        """Of the first set, that have a copy in the second."""
        return len(np.unique(self.pairs[:, 0]))


def hashes(store: Store) -> NDArray[np.int64] | None:
    """(videos, frames) from the protocol whose frames lie at the same places in every video; None
    where a store has none."""
    names = [name for name in store.protocols() if not name.startswith("train-")]
    for name in sorted(names, key=lambda name: "+" in name):
        try:
            found: NDArray[np.int64] = frame_hashes.read(store, name)
        except UnknownKey:
            continue
        if found.any():
            return found
    return None


def copies(found: NDArray[np.int64], first: Mask, second: Mask) -> Copies:
    """Which videos of the first set look like one of the second; a video is no copy of itself."""
    known = _known(found)
    pairs, alone = [np.empty((0, 2), np.int64)], np.arange(len(found))
    for one, other in _candidates(found, np.flatnonzero((first | second) & known), alone):
        near = _near(found[one], found[other])
        for a, b in ((one[near], other[near]), (other[near], one[near])):
            across = first[a] & second[b]
            pairs.append(np.stack([a[across], b[across]], 1))
    return Copies(
        looked_at=int((first & known).sum()), pairs=np.unique(np.concatenate(pairs), axis=0)
    )


def groups(found: NDArray[np.int64]) -> Rows:
    """Of each video the number of its group, -1 where it looks like no other. Videos are of one
    group where copies of copies lead from one to the other, whatever their order."""
    numbers = np.full(len(found), -1, np.int64)
    rows = np.flatnonzero(_known(found))
    if not len(rows):
        return numbers
    looks, which = np.unique(found[rows], axis=0, return_inverse=True)
    parents = np.arange(len(looks))
    for one, other in _candidates(looks, np.arange(len(looks)), parents):
        near = _near(looks[one], looks[other])
        _unite(parents, one[near], other[near])
    numbers[rows] = _roots(parents, which.reshape(-1))
    alone = np.bincount(numbers[rows], minlength=len(looks)) == 1
    numbers[rows[alone[numbers[rows]]]] = -1
    return numbers


def across_splits(found: NDArray[np.int64], splits: Sequence[str]) -> dict[str, Copies]:
    """Each split against those before it in learning: `test` against all others, `val` against
    `train`. Without splits all videos are compared with each other."""
    names = np.array([str(name) for name in splits], np.dtypes.StringDType())
    kinds = set(np.unique(names).tolist()) - {""}
    if len(kinds) < 2:
        everything = np.ones(len(names), bool)
        one = copies(found, everything, everything)
        return {"all videos": Copies(looked_at=one.looked_at, pairs=_once(one.pairs))}
    order = [name for name in ("train", "val", "test") if name in kinds]
    order += sorted(kinds - set(order))
    return {
        f"{name} against {' and '.join(order[:place])}": copies(
            found, names == name, np.isin(names, np.array(order[:place], names.dtype))
        )
        for place, name in enumerate(order)
        if place
    }


def _once(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    return pairs[pairs[:, 0] > pairs[:, 1]]


def _known(found: NDArray[np.int64]) -> Mask:
    known: Mask = (found != 0).sum(1) >= _FEWEST_FRAMES
    return known


def _candidates(found: NDArray[np.int64], rows: Rows, parents: Rows) -> Iterator[tuple[Rows, Rows]]:
    """All pairs of rows that may be copies and are not of one group yet, a block at a time; a pair
    may come several times."""
    for place in range(found.shape[1]):
        shown = rows[found[rows, place] != 0]
        shown = shown[np.argsort(_roots(parents, shown), kind="stable")]
        hashes = found[shown, place].view(np.uint64)
        for number, mask in enumerate(_MASKS):
            order = np.argsort(hashes & mask, kind="stable")
            ordered, which = hashes[order], shown[order]
            for one, other in _alike(ordered & mask, _roots(parents, which)):
                differ = ordered[one] ^ ordered[other]
                close = np.flatnonzero(np.bitwise_count(differ) <= CLOSE_BITS)
                for earlier in _MASKS[:number]:  # which has found the pair where it agrees
                    close = close[differ[close] & earlier != 0]
                one, other = which[one[close]], which[other[close]]
                apart = _roots(parents, one) != _roots(parents, other)
                yield one[apart], other[apart]
            if not number:
                _, hash_of, holders = np.unique(hashes, return_inverse=True, return_counts=True)
                few = holders[hash_of] <= _NEIGHBOURS
                shown, hashes = shown[few], hashes[few]


def _alike(keys: NDArray[np.uint64], groups: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of places with the same key, which ascends, where another group is near."""
    new = np.flatnonzero((keys[1:] != keys[:-1]) | (groups[1:] != groups[:-1])) + 1
    ends = np.append(new, len(keys))
    at, end = np.arange(len(keys)), np.repeat(ends, np.diff(ends, prepend=0))
    at = at[(end < len(keys)) & (end - at <= _NEIGHBOURS)]
    at = at[keys[at] == keys[end[at]]]
    for step in range(1, min(len(keys), _NEIGHBOURS + 1)):
        at = at[: np.searchsorted(at, len(keys) - step)]
        at = at[keys[at] == keys[at + step]]
        if not len(at):
            return
        for start in range(0, len(at), _PAIRS):
            some = at[start : start + _PAIRS]
            yield some, some + step


def _unite(parents: Rows, one: Rows, other: Rows) -> None:
    """Each pair into one group, which the least of its members stands for."""
    while len(one):
        one, other = _roots(parents, one), _roots(parents, other)
        low, high = np.minimum(one, other), np.maximum(one, other)
        apart = low != high
        one, other = low[apart], high[apart]
        parents[other] = one


def _roots(parents: Rows, of: Rows) -> Rows:
    """Of each the one that stands for its group; the way there gets short."""
    found = parents[of]
    while ((further := parents[found]) != found).any():
        found = further
    parents[of] = found
    return found


def _near(a: NDArray[np.int64], b: NDArray[np.int64]) -> Mask:
    """Pair by pair: few bits differ on average over the frames that both have."""
    both = (a != 0) & (b != 0)
    bits = np.where(both, np.bitwise_count(a.view(np.uint64) ^ b.view(np.uint64)), 0).sum(1)
    frames = both.sum(1)
    near: Mask = (frames >= _FEWEST_FRAMES) & (bits <= CLOSE_BITS * frames)
    return near
