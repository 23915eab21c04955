"""The videos of a manifest as columns: a million of them take a tenth of what records do.

It reads like a tuple of `Video`s, which are made when one is asked for. A path is kept only where
root and id do not say it.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import numpy as np
from numpy.typing import NDArray

from extract.manifest.texts import Names, Texts
from extract.manifest.video import Video

Cells = tuple[str, str, int, float, float, str, str, str]
"""Of one row: id, path, label, rank, score, source, split, group."""
_AT_ONCE = 4096


class VideoTable(Sequence[Video]):
    """Rows are appended while a manifest is read; nothing changes afterwards."""

    def __init__(self, root: str, rows: Iterable[Cells] = ()) -> None:
        rows, self.root = iter(rows), root
        self._prefix = root if root.endswith("/") else f"{root}/"
        self.ids = Texts()
        self._paths: dict[int, str] = {}
        self._labels, self._ranks, self._scores = array("q"), array("d"), array("d")
        self.sources, self.splits, self.groups = Names(), Names(), Names()
        while some := list(islice(rows, _AT_ONCE)):
            self.extend(some)

    @staticmethod
    def of(root: str, videos: Iterable[Video]) -> "VideoTable":
        """These videos; the table itself where they are one."""
        if isinstance(videos, VideoTable):
            return videos
        return VideoTable(root, map(_cells, videos))

    def extend(self, rows: Sequence[Cells]) -> None:
        if not rows:
            return
        first = len(self.ids)
        ids, paths, labels, ranks, scores, sources, splits, groups = zip(*rows, strict=True)
        self.ids.extend(ids)
        for place, (video_id, path) in enumerate(zip(ids, paths, strict=True), start=first):
            if self._prefix + video_id != path:
                self._paths[place] = path
        self._labels.extend(labels)
        self._ranks.extend(ranks)
        self._scores.extend(scores)
        self.sources.extend(sources)
        self.splits.extend(splits)
        self.groups.extend(groups)

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.array(self._labels, np.int64)

    @property
    def ranks(self) -> NDArray[np.float64]:
        return np.array(self._ranks, np.float64)

    def paths(self) -> Iterator[str]:
        known = self._paths
        for place, video_id in enumerate(self.ids):
            yield known[place] if place in known else self._prefix + video_id

    def take(self, places: Iterable[int]) -> "VideoTable":
        """Some rows, as a table."""
        return VideoTable(self.root, map(self._at, places))

    def _at(self, place: int) -> Cells:
        video_id = self.ids[place]
        return (
            video_id, self._paths.get(place, self._prefix + video_id), self._labels[place],
            self._ranks[place], self._scores[place], self.sources[place], self.splits[place],
            self.groups[place],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> Video: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Video, ...]: ...

    def __getitem__(self, place: int | slice) -> Video | tuple[Video, ...]:
        if isinstance(place, slice):
            return tuple(self[one] for one in range(*place.indices(len(self))))
        return _video(self._at(range(len(self))[place]))

    def __iter__(self) -> Iterator[Video]:
        for place in range(len(self)):
            yield _video(self._at(place))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


def _cells(video: Video) -> Cells:
    return (
        video.id, video.path, video.label, video.rank, video.score, video.source, video.split,
        video.group,
    )  # fmt: skip


def _video(cells: Cells) -> Video:
    video_id, path, label, rank, score, source, split, group = cells
    return Video(
        id=video_id, path=path, label=label, rank=_given(rank), score=_given(score), source=source,
        split=split, group=group,
    )  # fmt: skip


def _given(number: float) -> float:
    """The one NaN that equals itself in a record, where none is given."""
    return math.nan if math.isnan(number) else number
