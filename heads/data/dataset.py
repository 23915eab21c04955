"""Features that do not fit in memory, for a torch training loop of one's own.

    batches = StoreDataset("hfv.zarr", ["internvideo2/tokens"], batch=32)
    loader = DataLoader(batches, batch_size=None, num_workers=4)

Workers share the videos out: each is seen once an epoch, whatever their number.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from features_store.store import Store
from features_store.table import Where

LABEL, ROW = "label", "row"
"""Keys of a batch beside those that were asked for."""


class StoreDataset(IterableDataset[dict[str, Tensor]]):
    """Batches of a store's arrays: key → tensor, `label`, and `row` (the video's in the store)."""

    def __init__(
        self,
        store: str | Path,
        keys: Sequence[str],
        *,
        protocol: str | None = None,
        where: Where = None,
        batch: int = 64,
        shuffle: int | None = None,
    ) -> None:
        """`shuffle` is a seed; call `set_epoch` for another order each time."""
        self.store = store
        self.asked: dict[str, Any] = {"protocol": protocol, "where": where, "batch": batch}
        self.keys = tuple(keys)
        self.shuffle = shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The order of the next epoch; before the loader's workers start."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        part = (0, 1) if worker is None else (worker.id, worker.num_workers)
        seed = None if self.shuffle is None else self.shuffle + self.epoch
        store = Store.open(self.store)
        for table in store.stream(self.keys, **self.asked, shuffle=seed, part=part):
            batch = {key: torch.from_numpy(table.arrays[key]) for key in self.keys}
            batch[LABEL] = torch.from_numpy(table.labels.astype(np.int64))
            batch[ROW] = torch.from_numpy(np.asarray(table.rows, np.int64))
            yield batch
