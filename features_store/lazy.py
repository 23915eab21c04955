"""An array of a table that stays on the disk: rows are read when they are asked for.

For tokens of a whole data set, which do not fit in memory, where training wants them in an order
of its own. Reading single rows of mapped files costs little more than reading them in order.
"""

from typing import TypeAlias

import numpy as np

from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.errors import BadInput

Index: TypeAlias = Array | slice


class LazyRows:
    """Behaves as (n, *shape) of `dtype` where rows, or rows and views, are asked for."""

    def __init__(
        self, branch: BranchArrays, name: str, rows: Array, views: Array | None = None,
        *, verify: bool = True,
    ) -> None:  # fmt: skip
        """`views`: the one view that each row has; None: all of them."""
        spec = branch.spec.arrays[name]
        self.shape = (len(rows), *(spec.shape if views is None else (1, *spec.shape[1:])))
        self.dtype = np.dtype(spec.dtype)
        self._branch = branch
        self._name = name
        self._rows = rows
        self._views = views
        self._verify = verify

    def __repr__(self) -> str:
        return f"LazyRows({self._branch.prefix}/{self._name}: {self.dtype}{list(self.shape)})"

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, index: Index) -> "LazyRows":
        """Some of the rows, still on the disk."""
        views = None if self._views is None else self._views[index]
        return self._of(self._rows[index], views)

    def by_view(self, index: Array, views: Array) -> "LazyRows":
        """Some of the rows, each with one of its views; still on the disk."""
        return self._of(self._rows[index], views)

    def _of(self, rows: Array, views: Array | None) -> "LazyRows":
        return LazyRows(self._branch, self._name, rows, views, verify=self._verify)

    def __getitem__(self, index: Index | tuple[Index, Index]) -> Array:
        """Some of the rows, read; with `[rows, views]` of each of them these views alone.

        A chunk's checksum is taken when this process first reads of it, not for every row.
        """
        rows, views = index if isinstance(index, tuple) else (index, None)
        if self._views is not None:
            return self._single(rows, views)
        if views is not None:
            views = np.arange(self.shape[1])[views]
            if views.ndim != 1:
                raise BadInput(f"Views {index}: give a slice or a list of numbers.")
        wanted, inverse = np.unique(self._rows[rows], return_inverse=True)
        count = self.shape[1] if views is None else len(views)
        out = np.empty((len(wanted), count, *self.shape[2:]), self.dtype)
        size = self._branch.shard_rows
        shards = wanted // size
        for shard in np.unique(shards).tolist():
            mine = shards == shard
            local = wanted[mine] - shard * size
            out[mine] = self._branch.files.rows_of(
                self._name, shard, local, views, verify=self._verify
            )
        in_order = len(inverse) == len(wanted) and (np.diff(inverse) > 0).all()
        return out if in_order else out[inverse]

    def _single(self, index: Index, views: Index | None) -> Array:
        """Rows that have one view each."""
        assert self._views is not None
        rows, own = self._rows[index], self._views[index]
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for view in np.unique(own).tolist():
            mine = own == view
            out[mine] = self._of(rows[mine], None)[:, np.array([view])]
        return out if views is None else out[:, views]
