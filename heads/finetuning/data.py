"""What fine-tuning is fed: cached tokens, cached or decoded clips, and cached depth.

Row i of a source is row i of its table, and view v of its inputs is view v of its depth vectors:
both follow from (video, view index, the protocol's seed), whether cached or decoded now.
Inputs of the next step are read or decoded while this one is computed.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.decoding.job import CLIPS, Job, Outcome, Plan
from extract.decoding.pool import DecodePool
from features_store.table import Table
from heads.errors import BadTable
from heads.head import check_labels, check_table
from heads.parts import arrays
from heads.parts.arrays import DEPTH
from heads.training.model import Samples

T = TypeVar("T")
Numbers = NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Samples that are wanted together: rows of the table, and a view of each."""

    rows: NDArray[np.int64]
    views: NDArray[np.int64]


class Source(ABC):
    """Videos to learn from or to judge by."""

    def __init__(self, table: Table, *, views: int, judge: bool, rank_loss: bool) -> None:
        what = "validation" if judge else "training"
        check_table(table, [key for key in (DEPTH,) if key in table.arrays], what)
        check_labels(table, what, several=not judge)
        depth = torch.zeros(len(table), views, 0)
        if DEPTH in table.arrays:
            depth = arrays.matrix(table, (DEPTH,))
        if depth.shape[1] != views:
            raise BadTable(f"{DEPTH} has {depth.shape[1]} views, the inputs have {views}.")
        self.table = table
        self.samples = Samples.of(depth, table, rank_loss=rank_loss and not judge)

    def stream(self, picks: Sequence[Pick]) -> Generator[Tensor]:
        """The inputs of each pick, in order, one of them ahead."""
        return ahead(self._inputs(picks))

    @abstractmethod
    def _inputs(self, picks: Sequence[Pick]) -> Generator[Tensor]:
        """The same, when asked."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held."""


class CachedSource(Source):
    """Tokens or clips, read from the store."""

    def __init__(self, table: Table, key: str, *, judge: bool, rank_loss: bool) -> None:
        self._rows = table.lazy[key] if key in table.lazy else table.arrays[key]
        self._key = key
        super().__init__(table, views=self._rows.shape[1], judge=judge, rank_loss=rank_loss)

    def _inputs(self, picks: Sequence[Pick]) -> Generator[Tensor]:
        for pick in picks:
            rows, places = np.unique(pick.rows, return_inverse=True)  # read once for all views
            tokens = torch.from_numpy(np.asarray(self._rows[rows])[places, pick.views])
            if not bool(torch.isfinite(tokens).all()):
                raise BadTable(f"{self._key} holds numbers that are not finite; extract again.")
            yield tokens

    def close(self) -> None:
        """Nothing is held."""


class ClipSource(Source):
    """Clips of raw video, decoded by workers as extraction does it; some are kept in memory."""

    def __init__(  # noqa: PLR0913 (where videos are and how they are looked at)
        self,
        table: Table,
        paths: Mapping[str, str],
        plan: Plan,
        *,
        workers: int,
        memory: int,
        judge: bool,
        rank_loss: bool,
    ) -> None:
        lost = next((str(video) for video in table.ids if str(video) not in paths), None)
        if lost is not None:
            raise BadTable(f"The manifest has no video {lost!r}, and the store does.")
        self._pool = DecodePool(plan, workers=workers)
        (look,) = plan.looks
        super().__init__(table, views=look.views, judge=judge, rank_loss=rank_loss)
        self._jobs = [
            Job(index=row, id=str(video), path=paths[str(video)])
            for row, video in enumerate(table.ids)
        ]
        self._kept: dict[int, Numbers] = {}
        self._room = memory // look.nbytes

    def close(self) -> None:
        self._pool.close()

    def _inputs(self, picks: Sequence[Pick]) -> Generator[Tensor]:
        """A video is decoded once for all its views of one pick."""
        kept = dict(self._kept)
        wanted = [np.unique(pick.rows).tolist() for pick in picks]
        jobs = [self._jobs[row] for rows in wanted for row in rows if row not in kept]
        decoded = _Decoded(self._pool.run(jobs), len(jobs))
        try:
            for pick, rows in zip(picks, wanted, strict=True):
                clips = {row: kept[row] if row in kept else decoded.take(row) for row in rows}
                for row in rows[: max(0, self._room - len(self._kept))]:
                    self._kept[row] = clips[row]
                chosen = zip(pick.rows.tolist(), pick.views.tolist(), strict=True)
                yield torch.from_numpy(np.stack([clips[row][view] for row, view in chosen]))
        finally:
            if decoded.left:
                self._pool.close()  # workers in the middle of a video would answer the next run


class _Decoded:
    """Outcomes by row; those that come before they are asked for wait."""

    def __init__(self, outcomes: Iterator[Outcome], count: int) -> None:
        self.left = count
        """Outcomes that have not come."""
        self._outcomes = outcomes
        self._waiting: dict[int, list[Numbers]] = {}

    def take(self, row: int) -> Numbers:
        while not self._waiting.get(row):
            outcome = next(self._outcomes)
            self.left -= 1
            if outcome.failure is not None:
                raise BadTable(
                    f"{outcome.job.id!r} was extracted and cannot be decoded now: "
                    f"{outcome.failure}. Put the file back, or extract that video again."
                )
            clips = outcome.arrays[CLIPS.name].copy()
            self._waiting.setdefault(outcome.job.index, []).append(clips)
        return self._waiting[row].pop()


def ahead(items: Generator[T]) -> Generator[T]:
    """The same items, the next one made while this one is in use."""
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="telltale-inputs") as thread:
            coming = thread.submit(next, items, None)
            while (item := coming.result()) is not None:
                coming = thread.submit(next, items, None)
                yield item
    finally:
        items.close()
