"""An array of a table that stays on the disk: rows are read when they are asked for.

For tokens of a whole data set, which do not fit in memory, where training wants them in an order
of its own. Reading single rows of mapped files costs little more than reading them in order.
"""

from typing import TYPE_CHECKING

import numpy as np

from features_store.chunks import Array, Piece

if TYPE_CHECKING:
    from features_store.branch_arrays import BranchArrays


class LazyRows:
    """Behaves as (n, *shape) of `dtype` where single axes and rows are concerned."""

    def __init__(self, branch: "BranchArrays", name: str, rows: Array) -> None:
        spec = branch.spec.arrays[name]
        self.shape = (len(rows), *spec.shape)
        self.dtype = np.dtype(spec.dtype)
        self._branch = branch
        self._name = name
        self._rows = rows

    def __repr__(self) -> str:
        return f"LazyRows({self._branch.prefix}/{self._name}: {self.dtype}{list(self.shape)})"

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, index: Array | slice) -> "LazyRows":
        """Some of the rows, still on the disk."""
        return LazyRows(self._branch, self._name, self._rows[index])

    def __getitem__(self, index: Array | slice) -> Array:
        """Some of the rows, read."""
        wanted, inverse = np.unique(self._rows[index], return_inverse=True)
        out = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        size = self._branch.shard_rows
        shards = wanted // size
        for shard in np.unique(shards).tolist():
            pieces = [
                Piece(first=int(wanted[p]) - shard * size, out=out[p : p + 1])
                for p in np.flatnonzero(shards == shard).tolist()
            ]
            self._branch.copy_rows(self._name, shard, pieces)
        in_order = len(inverse) == len(wanted) and (np.diff(inverse) > 0).all()
        return out if in_order else out[inverse]
