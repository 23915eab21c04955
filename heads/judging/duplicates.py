"""Videos that look like copies of one another, by the hashes of their frames.

A test video that also lies in the training set, re-encoded or not, is remembered, not judged.
What is compared is a few frames at the same places of each video: a copy that was trimmed is not
found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features_store import frame_hashes
from features_store.errors import UnknownKey
from features_store.store import Store

CLOSE_BITS = 4.0
"""Of 64, on average over the frames compared. Re-encoding changes one or two."""
_FEWEST_FRAMES = 2
_MOST_VIDEOS = 50_000
_ROWS = 256
Mask = NDArray[np.bool_]


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
    known = (found != 0).sum(1) >= _FEWEST_FRAMES
    rows, others = np.flatnonzero(first & known), np.flatnonzero(second & known)
    rows, others = rows[:_MOST_VIDEOS], others[:_MOST_VIDEOS]
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        near = _near(found[some], found[others])
        near &= some[:, None] != others[None]
        i, j = np.nonzero(near)
        pairs.append(np.stack([some[i], others[j]], 1))
    return Copies(looked_at=len(rows), pairs=np.concatenate(pairs))


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


def _near(a: NDArray[np.int64], b: NDArray[np.int64]) -> Mask:
    """(len(a), len(b)): few bits differ on average over the frames that both have."""
    bits = np.zeros((len(a), len(b)), np.uint16)
    frames = np.zeros((len(a), len(b)), np.uint8)
    for place in range(a.shape[1]):
        one, other = a[:, place, None].view(np.uint64), b[None, :, place].view(np.uint64)
        both = (one != 0) & (other != 0)
        bits += np.where(both, np.bitwise_count(one ^ other), 0).astype(np.uint16)
        frames += both
    near: Mask = (frames >= _FEWEST_FRAMES) & (bits <= CLOSE_BITS * frames)
    return near
