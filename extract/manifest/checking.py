"""Rows of texts become videos, and what is wrong with them is collected, row by row.

Rows are taken one after another and not kept, so that a manifest of a million costs little more
than its columns.
"""

import math
import os
from array import array
from dataclasses import replace
from itertools import chain

import numpy as np

from extract.errors import BadManifest, BadSetting, one_line
from extract.manifest.folders import Folders
from extract.manifest.labels import UNLABELLED, LabelScheme, label_scheme
from extract.manifest.names import escaped, is_name
from extract.manifest.options import ManifestOptions
from extract.manifest.rows import Row, Source
from extract.manifest.segments import split_name
from extract.manifest.texts import Texts
from extract.manifest.video import Video
from extract.manifest.video_table import Cells, VideoTable

_AT_ONCE = 4096
NO_SCHEME = (
    "it has labels but no label scheme; give --scheme hfv4 (the released order), hfv4-paper or hfv2"
)


class Checker:
    """Checks the rows of one manifest."""

    def __init__(self, name: str, source: Source, options: ManifestOptions) -> None:
        self.name = name
        self.source = source
        self.options = options
        asked = None if options.scheme is None else label_scheme(options.scheme)
        self.scheme = asked or source.scheme
        self._folders = Folders(os.fspath(source.root))
        self._table = VideoTable(os.fspath(source.root))
        self._hashes = array("q")
        """Of the ids, by which those that are given twice are found."""
        self._where = Texts()
        """Of each video, where it was given."""
        self._numbers = array("q")
        """And the number of its row."""
        self._row = 0
        self._problems: list[tuple[int, str]] = []
        """By the number of the row that they are about."""

    def checked(self) -> VideoTable:
        """The videos; an error that names every problem where there are some."""
        labelled, problems = False, self._problems
        cells, where, numbers = list[Cells](), list[str](), list[int]()
        for number, row in enumerate(chain(self.source.rows, self.source.more)):
            self._row, labelled = number, labelled or bool(row.label)
            before = len(problems)
            found = self._cells(row)
            if found is None or len(problems) > before:
                continue
            cells.append(found)
            where.append(row.where)
            numbers.append(number)
            if len(cells) == _AT_ONCE:
                self._keep(cells, where, numbers)
        self._keep(cells, where, numbers)
        table = self._unique()
        told = [*self.source.problems, *self._scheme_problems(labelled=labelled)]
        told += [text for _, text in sorted(problems, key=lambda one: one[0])]
        if not len(table) and not told:
            told.append("no videos found; give a folder, a table or a list that has some")
        if told:
            raise BadManifest(one_line(self.name), told)
        return table

    def _keep(self, cells: list[Cells], where: list[str], numbers: list[int]) -> None:
        """Move rows from lists into columns."""
        self._table.extend(cells)
        self._hashes.extend(hash(one[0]) for one in cells)
        self._where.extend(where)
        self._numbers.extend(numbers)
        for each in (cells, where, numbers):
            each.clear()

    def _scheme_problems(self, *, labelled: bool) -> list[str]:
        named, found = self.source.scheme, []
        asked = None if self.options.scheme is None else self.scheme
        if named is not None and asked is not None and named != asked:
            found.append(f"labels.json says scheme {named.name}, you asked for {asked.name}")
        if self.scheme is None and labelled and self.options.labels:
            found.append(NO_SCHEME)
        return found

    def _cells(self, row: Row) -> Cells | None:
        place = self._place(row)
        label = self._label(row, self.scheme) if row.label else UNLABELLED
        rank = self._rank(row) if row.rank else math.nan
        if self.options.require_ranks and label != UNLABELLED and math.isnan(rank):
            self._problem(
                row,
                "no rank, and rank weighting was asked for; `telltale manifest rank` makes ranks "
                "from scores",
            )
        score = self._number(row, "score", row.score) if row.score else math.nan
        if place is None:
            return None
        return (*place, label, rank, score, row.source, row.split, row.group)

    def _place(self, row: Row) -> tuple[str, str] | None:
        """The id and the path of a row's file."""
        if not is_name(row.file):
            self._problem(row, "no file name")
            return None
        found = None if "#t=" in row.file else self._folders.of(row.folder, row.file)
        if found is None:
            return self._odd_place(row)
        folder, name = found
        path = folder.path + name
        sure = self.source.scanned or (folder.stays and not folder.has_link(name))
        if not sure and not self._check_links(row, path):
            return None
        if self.options.check_files:
            self._check_file(row, path)
        return folder.id + escaped(name), path

    def _odd_place(self, row: Row) -> tuple[str, str] | None:
        """The same of a row whose name may be a segment's, or may lead out of the root."""
        path = os.path.normpath(os.path.join(row.folder, row.file))  # noqa: PTH118, bytes-exact
        segment = None
        if not os.path.lexists(path):  # a file may be called like a segment
            try:
                path, segment = split_name(path)
            except BadSetting as error:
                self._problem(row, str(error))
        relative = self._folders.relative(path)
        if relative is None:
            root = os.fspath(self.source.root)
            self._problem(row, f"file {row.file!r} leaves the root {root!r}")
            return None
        if not self.source.scanned and not self._check_links(row, path):
            return None
        if self.options.check_files:
            self._check_file(row, path)
        return escaped(relative) + str(segment or ""), path

    def _check_links(self, row: Row, path: str) -> bool:
        stays = self._folders.stays(path)
        if not stays:
            self._problem(row, f"file {row.file!r} is a link that leaves the root")
        return stays

    def _check_file(self, row: Row, path: str) -> None:
        if not os.path.isfile(path):  # noqa: PTH113
            self._problem(row, f"file {row.file!r} is not there, or is no file")

    def _label(self, row: Row, scheme: LabelScheme | None) -> int:
        if scheme is None:
            return UNLABELLED
        try:
            return scheme.index(row.label)
        except ValueError as error:
            self._problem(row, str(error))
            return UNLABELLED

    def _rank(self, row: Row) -> float:
        rank = self._number(row, "rank", row.rank)
        if not math.isnan(rank) and not 0 <= rank <= 1:
            self._problem(row, f"rank {row.rank} is outside [0, 1]")
        return rank

    def _number(self, row: Row, what: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.inf
        if math.isinf(number):
            self._problem(row, f"{what} {text!r} is not a number")
            return math.nan
        return number

    def _unique(self) -> VideoTable:
        """Refuses ids given twice; merges a video that val and test lists both name."""
        table, hashes = self._table, np.array(self._hashes, np.int64)
        order = np.argsort(hashes, kind="stable")
        twice = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        first: dict[str, tuple[int, Video]] = {}
        dropped = []
        for place in np.unique(order[np.concatenate([twice, twice + 1])]).tolist():
            video = table[place]
            if video.id not in first:
                first[video.id] = place, video
                continue
            dropped.append(place)
            before, known = first[video.id]
            if {known.split, video.split} == {"val", "test"} and _same(known, video):
                first[video.id] = before, replace(known, split="val+test")
                table.splits.change(before, "val+test")
            else:
                text = f"{video.id!r} was given before, at {self._where[before]}"
                where = one_line(self._where[place])
                self._problems.append((self._numbers[place], f"{where}: {text}"))
        return table.take(np.delete(np.arange(len(table)), dropped).tolist()) if dropped else table

    def _problem(self, row: Row, text: str) -> None:
        self._problems.append((self._row, f"{one_line(row.where)}: {text}"))


def _same(a: Video, b: Video) -> bool:
    ranks = a.rank == b.rank or (math.isnan(a.rank) and math.isnan(b.rank))
    return a.label == b.label and ranks
