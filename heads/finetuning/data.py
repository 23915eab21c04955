"""What fine-tuning is fed: inputs, cached or decoded, and cached vectors of other networks.

Row i of a source is row i of its table, and view v of its inputs is view v of those vectors: both
follow from (video, view index, the protocol's seed), whether cached or decoded now.
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

from extract.decoding.job import Job, Outcome, Plan
from extract.decoding.pool import DecodePool
from features_store.table import Table
from heads.errors import BadTable
from heads.head import check_labels, check_table
from heads.parts import arrays
from heads.parts.arrays import DEPTH
from heads.parts.tokens import one_view
from heads.training.model import Samples

T = TypeVar("T")
Numbers = NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Samples that are wanted together: rows of the table, and a view of each."""

    rows: NDArray[np.int64]
    views: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """How a source is used."""

    judge: bool
    rank_loss: bool
    beside: Sequence[str] = (DEPTH,)
    """Cached vectors that go beside the network's own, as far as the table has them."""
    present: NDArray[np.bool_] | None = None
    """(n, V): the views with something to look at; none: all of them."""


class Source(ABC):
    """Videos to learn from or to judge by."""

    raw = True
    """Whether inputs are rows of the branch's `prepare`, and not what is cached of a layer's."""
    memory = 0
    """Bytes of main memory that it may come to keep."""

    def __init__(self, table: Table, how: Feeding, *, views: int) -> None:
        what = "validation" if how.judge else "training"
        beside = [key for key in how.beside if key in table.arrays]
        check_table(table, beside, what)
        check_labels(table, what, several=not how.judge)
        vectors = torch.zeros(len(table), views, 0)
        if beside:
            vectors = arrays.matrix(table, beside)
        if vectors.shape[1] != views:
            raise BadTable(f"{beside[0]} has {vectors.shape[1]} views, the inputs have {views}.")
        self.table = table
        everything = np.ones((len(table), views), bool)
        self.present = torch.from_numpy(everything if how.present is None else how.present)
        """(n, V): the views to learn from and to judge by."""
        self.samples = Samples.of(vectors, table, rank_loss=how.rank_loss and not how.judge)

    def stream(self, picks: Sequence[Pick]) -> Generator[Tensor]:
        """The inputs of each pick, in order, one of them ahead."""
        return ahead(self._inputs(picks))

    def first(self, count: int) -> Tensor:
        """Inputs of so many samples."""
        rows = np.arange(count) % self.samples.videos
        (found,) = self.stream([Pick(rows=rows, views=np.zeros_like(rows))])
        return found

    @abstractmethod
    def _inputs(self, picks: Sequence[Pick]) -> Generator[Tensor]:
        """The same, when asked."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held."""


class CachedSource(Source):
    """A layer's inputs, or pixels, read from the store."""

    def __init__(self, table: Table, key: str, how: Feeding, *, raw: bool = False) -> None:
        self._rows = table.lazy[key] if key in table.lazy else table.arrays[key]
        self._key = key
        self.raw = raw
        super().__init__(table, how, views=self._rows.shape[1])

    def _inputs(self, picks: Sequence[Pick]) -> Generator[Tensor]:
        for pick in picks:
            tokens = torch.from_numpy(self._picked(pick))
            if not bool(torch.isfinite(tokens).all()):
                raise BadTable(f"{self._key} holds numbers that are not finite; extract again.")
            yield tokens

    def _picked(self, pick: Pick) -> Numbers:
        """Rows are read whole where all their views are wanted."""
        rows, places = np.unique(pick.rows, return_inverse=True)
        if len(rows) * self._rows.shape[1] > len(places):
            return one_view(self._rows, pick.rows, pick.views)
        whole: Numbers = np.asarray(self._rows[rows])[places, pick.views]
        return whole

    def close(self) -> None:
        """Nothing is held."""


class ClipSource(Source):
    """Views of raw video, decoded by workers as extraction does it; some are kept in memory."""

    def __init__(
        self,
        table: Table,
        paths: Mapping[str, str],
        plan: Plan,
        how: Feeding,
        *,
        workers: int,
        memory: int,
    ) -> None:
        lost = next((str(video) for video in table.ids if str(video) not in paths), None)
        if lost is not None:
            raise BadTable(f"The manifest has no video {lost!r}, and the store does.")
        self._pool = DecodePool(plan, workers=workers)
        (look,) = plan.looks
        (self._output,) = (output.name for output in look.outputs)
        super().__init__(table, how, views=look.views)
        self._jobs = [
            Job(index=row, id=str(video), path=paths[str(video)])
            for row, video in enumerate(table.ids)
        ]
        self._kept: dict[int, Numbers] = {}
        self.memory = memory
        self._room = memory // look.nbytes

    def close(self) -> None:
        self._pool.close()

    def _inputs(self, picks: Sequence[Pick]) -> Generator[Tensor]:
        """A video is decoded once for all its views of one pick."""
        kept = dict(self._kept)
        wanted = [np.unique(pick.rows).tolist() for pick in picks]
        jobs = [self._jobs[row] for rows in wanted for row in rows if row not in kept]
        decoded = _Decoded(self._pool.run(jobs), len(jobs), self._output)
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

    def __init__(self, outcomes: Iterator[Outcome], count: int, output: str) -> None:
        self.left = count
        """Outcomes that have not come."""
        self._outcomes = outcomes
        self._output = output
        self._waiting: dict[int, list[Numbers]] = {}

    def take(self, row: int) -> Numbers:
        while not self._waiting.get(row):
            outcome = next(self._outcomes)
            self.left -= 1
            failures = [outcome.failure, *(one.failure for one in outcome.seen.values())]
            if any(failures):
                failure = next(one for one in failures if one is not None)
                raise BadTable(
                    f"{outcome.job.id!r} was extracted and cannot be decoded now: "
                    f"{failure}. Put the file back, or extract that video again."
                )
            views = outcome.arrays[self._output].copy()
            self._waiting.setdefault(outcome.job.index, []).append(views)
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
