"""Arrays of many videos in memory, beside their labels and ranks.

A key names an array: `internvideo2/cls`, or with more of the branch's name where that is needed,
`internvideo2-L14@3f9c1a2b/cls`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from features_store.chunks import Array
from features_store.lazy import LazyRows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Where = Mapping[str, str | Sequence[str]] | Array | None
"""Which videos: column → value or values (labels by class name), or a mask over all videos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Videos and their arrays, row by row."""

    protocol: str
    classes: tuple[str, ...]
    rows: Array
    """(n) the videos' rows in the store."""
    ids: Array
    labels: Array
    """(n) int16, -1 where a video has no label."""
    ranks: Array
    """(n) float64, NaN where a video has no rank."""
    sources: Array
    splits: Array
    arrays: Mapping[str, Array]
    """Per key as asked for: (n, *shape)."""
    fingerprints: Mapping[str, str]
    """Per key: who made the numbers."""
    failed: int = 0
    """Videos that were selected and left out because they failed in a branch."""
    missing: int = 0
    """Videos left out because they were not computed yet (only with allow_missing)."""
    also: tuple[str, ...] = ()
    """Other protocols whose views stand behind those of `protocol`; see `beside`."""
    lazy: Mapping[str, LazyRows] = field(default_factory=dict)
    """Keys that were to stay on the disk."""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{key} {a.dtype}{list(a.shape)}" for key, a in self.arrays.items())
        return f"Table({self.protocol}, {len(self)} videos, {self.failed} failed; {shapes})"

    @property
    def qualities(self) -> int:
        """Of how many protocols its views are."""
        return 1 + len(self.also)

    def matrix(self, *keys: str) -> Array:
        """(videos, numbers) in float32: the arrays side by side, each averaged over its views and
        frames, as scikit-learn takes them. Without keys, all arrays in order."""
        parts = [self.arrays[key] for key in keys or self.arrays]
        flat = [part.astype(np.float32).reshape(len(part), -1, part.shape[-1]) for part in parts]
        joined: Array = np.concatenate([part.mean(1) for part in flat], axis=1)
        return joined

    def to_arrow(self) -> "pa.Table":
        """A row per video: id, label, rank, source, split, and every array averaged over its views
        as a list of numbers."""
        from features_store.arrow import features_table

        columns = {
            "id": self.ids, "label": self.labels, "rank": self.ranks, "source": self.sources,
            "split": self.splits,
        }  # fmt: skip
        return features_table(columns, {key: self.matrix(key) for key in self.arrays}, self.classes)

    def to_pandas(self) -> "pd.DataFrame":
        """The same as a pandas data frame (pandas must be there)."""
        from features_store.arrow import frame

        return frame(self.to_arrow())

    def beside(self, other: "Table") -> "Table":
        """The videos that are in both, with the other's views behind their own."""
        _, mine, theirs = np.intersect1d(self.rows, other.rows, return_indices=True)
        order = np.argsort(mine)
        own, more = self.take(mine[order]), other.take(theirs[order])
        arrays = {
            key: np.concatenate([array, more.arrays[key]], axis=1)
            for key, array in own.arrays.items()
        }
        return replace(own, arrays=arrays, also=(*self.also, other.protocol, *other.also))

    def take(self, index: Array | slice) -> "Table":
        """Some of the rows; `index` as NumPy takes it."""
        return replace(
            self,
            rows=self.rows[index],
            ids=self.ids[index],
            labels=self.labels[index],
            ranks=self.ranks[index],
            sources=self.sources[index],
            splits=self.splits[index],
            arrays={key: array[index] for key, array in self.arrays.items()},
            lazy={key: rows.take(index) for key, rows in self.lazy.items()},
        )
