"""Hashes of a few frames of every video, by which copies are found whatever their encoding.

Kept under each protocol like a branch of their own, `frame_hashes-dhash@…`, and filled along with
the others: no video is decoded for its hashes alone. `extract.views.frame_hash` makes them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from features_store.chunks import Array
from features_store.errors import UnknownKey
from features_store.schema import ArraySpec, BranchSpec, fingerprint

if TYPE_CHECKING:
    from features_store.store import Store

FRAMES = 4
"""Of each video; a hash of 0 says that a frame has nothing in it."""


def spec() -> BranchSpec:
    """The same for every protocol and every video."""
    decides = {"hash": "difference, 8 x 8 bits", "frames": FRAMES, "revision": 1}
    return BranchSpec(
        name="frame_hashes",
        preset="dhash",
        fingerprint=fingerprint(decides),
        arrays={"hashes": ArraySpec(shape=(FRAMES,), dtype="int64")},
        provenance=decides,
    )


def encode(hashes: Sequence[int]) -> dict[str, Array]:
    """A row of each array."""
    return {"hashes": np.array(hashes or (0,) * FRAMES, np.int64)}


def read(store: "Store", protocol: str, rows: Array | None = None) -> Array:
    """(videos, frames) of all videos, or of some rows in their order; 0 where nothing is known."""
    if spec().group not in store.branches(protocol):
        raise UnknownKey(f"{store.place.name} has no hashes of frames under {protocol}.")
    branch = store.open_branch(protocol, spec().group)
    if rows is None:
        return branch.over_all_videos("hashes")
    return branch.of_videos("hashes", rows)
