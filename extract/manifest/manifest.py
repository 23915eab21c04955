"""A manifest: the table of videos, whatever form it came in.

Reads the HFV layout, tables (CSV, Parquet, JSONL), plain lists, and folders; checks every row and
reports all problems at once with their line numbers. It looks at names and columns only: whether
a file exists is asked when `check_files` is set, whether it decodes is asked by decoding only.
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from extract.errors import BadManifest, BadSetting, one_line
from extract.manifest import layouts, sources
from extract.manifest.labels import UNLABELLED, LabelScheme, label_scheme
from extract.manifest.names import escaped
from extract.manifest.rows import Row, Source
from extract.manifest.segments import Segment, segment_of, split_name

Columns = dict[str, list[str] | list[int] | list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One row of a manifest."""

    id: str
    """Its path relative to the manifest's root, `/`-separated, with the segment where the row is
    one; see `names.escaped` and `segments`."""
    path: str
    label: int = UNLABELLED
    """Index in the manifest's scheme, -1 without a label."""
    rank: float = math.nan
    """In [0, 1], small = more obvious; NaN where none is given."""
    score: float = math.nan
    """A raw anomaly score, from which `telltale manifest rank` makes ranks."""
    source: str = ""
    """The generator or data set: in an HFV layout the folder's name."""
    split: str = ""
    """train, val, test; `val+test` for a video that both lists name."""
    group: str = ""
    """What it shares with videos that belong on one side with it: a prompt, a person, a page."""

    @property
    def segment(self) -> Segment | None:
        """The stretch of the file that the row is; None where it is all of it."""
        return segment_of(self.id, self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Videos below one root, and the scheme that their labels are numbered in."""

    root: Path
    scheme: LabelScheme | None
    """None only where no video has a label."""
    videos: tuple[Video, ...]
    notes: tuple[str, ...] = ()
    """What a known benchmark has that is not here."""

    def columns(self) -> Columns:
        """What `features_store` keeps of each video, column by column."""
        found: Columns = {
            "id": [video.id for video in self.videos],
            "path": [escaped(video.path) for video in self.videos],
            "label": [video.label for video in self.videos],
            "rank": [video.rank for video in self.videos],
            "source": [video.source for video in self.videos],
            "split": [video.split for video in self.videos],
        }
        groups = [video.group for video in self.videos]
        return found | ({"group": groups} if any(groups) else {})

    def only_split(self, split: str) -> "Manifest":
        """The videos of one split."""
        videos = tuple(video for video in self.videos if split in video.split.split("+"))
        if not videos:
            have = sorted({part for video in self.videos for part in video.split.split("+")})
            problem = f"no video in split {split!r}; have: {', '.join(have) or 'none'}"
            raise BadManifest(str(self.root), [problem])
        return replace(self, videos=videos)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestOptions:
    """How a manifest is read."""

    scheme: str | None = None
    """A label scheme's name. May be left out when a `labels.json` names it, or without labels."""
    root: Path | None = None
    """Where relative paths start; default: the folder the manifest is in."""
    require_ranks: bool = False
    """Refuse labelled videos without a rank, as rank-weighted training must."""
    check_files: bool = False
    """Report files that are missing or no files."""
    layout: str | None = None
    """How another benchmark lies on the disk, see `layouts`; None: by what is there."""
    labels: bool = True
    """False: without a scheme rows have no labels, instead of being refused."""


def read_manifest(
    place: str | os.PathLike[str],
    options: ManifestOptions | None = None,
    *,
    listing: TextIO | None = None,
) -> Manifest:
    """Read a manifest from a path, or from `listing` (one path per line) when place is `-`."""
    options = options or ManifestOptions()
    name = os.fspath(place)
    scheme = None if options.scheme is None else label_scheme(options.scheme)
    layout = options.layout
    if layout is None and options.labels and name != "-":
        layout = layouts.recognised(name)
    if layout is not None:
        source = layouts.read(layout, name, options.root)
    else:
        source = sources.read(name, scheme, options.root, listing, labels=options.labels)
    return _Checker(name, source, options).manifest()


class _Checker:
    """Turns rows into videos and collects what is wrong with them."""

    def __init__(self, name: str, source: Source, options: ManifestOptions) -> None:
        self.name = name
        self.source = source
        self.options = options
        self.problems: list[str] = list(source.problems)
        self.resolved_root = os.path.realpath(source.root)
        self.scheme = self._scheme()

    def manifest(self) -> Manifest:
        videos = self._unique(self._video(row) for row in self.source.rows)
        if not videos and not self.problems:
            self.problems.append("no videos found; give a folder, a table or a list that has some")
        if self.problems:
            raise BadManifest(one_line(self.name), self.problems)
        return Manifest(
            root=self.source.root, scheme=self.scheme, videos=tuple(videos),
            notes=tuple(self.source.notes),
        )  # fmt: skip

    def _scheme(self) -> LabelScheme | None:
        named = self.source.scheme
        asked = None if self.options.scheme is None else label_scheme(self.options.scheme)
        if named is not None and asked is not None and named != asked:
            self.problems.append(
                f"labels.json says scheme {named.name}, you asked for {asked.name}"
            )
        scheme = asked or named
        labelled = self.options.labels and any(row.label for row in self.source.rows)
        if scheme is None and labelled:
            self.problems.append(
                "it has labels but no label scheme; give --scheme hfv4 (the released order), "
                "hfv4-paper or hfv2"
            )
        return scheme

    def _video(self, row: Row) -> tuple[Row, Video] | None:
        before = len(self.problems)
        place = self._place(row)
        label = self._label(row)
        rank = self._number(row, "rank", row.rank)
        if not math.isnan(rank) and not 0 <= rank <= 1:
            self._problem(row, f"rank {row.rank} is outside [0, 1]")
        if self.options.require_ranks and label != UNLABELLED and math.isnan(rank):
            self._problem(
                row,
                "no rank, and rank weighting was asked for; `telltale manifest rank` makes ranks "
                "from scores",
            )
        score = self._number(row, "score", row.score)
        if place is None or len(self.problems) > before:
            return None
        video_id, path = place
        return row, Video(
            id=video_id,
            path=path,
            label=label,
            rank=rank,
            score=score,
            source=row.source,
            split=row.split,
            group=row.group,
        )

    def _place(self, row: Row) -> tuple[str, str] | None:
        """The id and the path of a row's file."""
        if not row.file or "\0" in row.file:
            self._problem(row, "no file name")
            return None
        path = os.path.normpath(os.path.join(row.folder, row.file))  # noqa: PTH118, bytes-exact
        segment = None
        if not os.path.lexists(path):  # a file may be called like a segment
            try:
                path, segment = split_name(path)
            except BadSetting as error:
                self._problem(row, str(error))
        relative = os.path.relpath(path, self.source.root)
        if relative == os.curdir or relative == os.pardir or relative.startswith("../"):
            self._problem(row, f"file {row.file!r} leaves the root {str(self.source.root)!r}")
            return None
        if not self.source.scanned and not self._stays(path):
            self._problem(row, f"file {row.file!r} is a link that leaves the root")
            return None
        if self.options.check_files and not os.path.isfile(path):  # noqa: PTH113
            self._problem(row, f"file {row.file!r} is not there, or is no file")
        return escaped(relative.replace(os.sep, "/")) + str(segment or ""), path

    def _stays(self, path: str) -> bool:
        resolved = os.path.realpath(path)
        return os.path.commonpath([resolved, self.resolved_root]) == self.resolved_root

    def _label(self, row: Row) -> int:
        if not row.label or self.scheme is None:
            return UNLABELLED
        try:
            return self.scheme.index(row.label)
        except ValueError as error:
            self._problem(row, str(error))
            return UNLABELLED

    def _number(self, row: Row, what: str, text: str) -> float:
        if not text:
            return math.nan
        try:
            number = float(text)
        except ValueError:
            number = math.inf
        if math.isinf(number):
            self._problem(row, f"{what} {text!r} is not a number")
            return math.nan
        return number

    def _unique(self, checked: Iterable[tuple[Row, Video] | None]) -> list[Video]:
        """Refuses ids given twice; merges a video that val and test lists both name."""
        seen: dict[str, tuple[Row, Video]] = {}
        for row, video in filter(None, checked):
            if video.id not in seen:
                seen[video.id] = row, video
                continue
            first_row, first = seen[video.id]
            if {first.split, video.split} == {"val", "test"} and _same(first, video):
                seen[video.id] = first_row, replace(first, split="val+test")
            else:
                self._problem(row, f"{video.id!r} was given before, at {first_row.where}")
        return [video for _, video in seen.values()]

    def _problem(self, row: Row, text: str) -> None:
        self.problems.append(f"{one_line(row.where)}: {text}")


def _same(a: Video, b: Video) -> bool:
    ranks = a.rank == b.rank or (math.isnan(a.rank) and math.isnan(b.rank))
    return a.label == b.label and ranks


def table_rows(videos: Sequence[Video], scheme: LabelScheme | None) -> list[list[str]]:
    """A header and one row per video, as `telltale manifest rank` writes them; reads back."""
    grouped = any(video.group for video in videos)
    rows = [["path", "label", "rank", "source", "split", *(["group"] if grouped else [])]]
    for video in videos:
        label = "" if video.label == UNLABELLED or scheme is None else scheme.classes[video.label]
        rank = "" if math.isnan(video.rank) else repr(video.rank)
        group = [video.group] if grouped else []
        rows.append([video.id, label, rank, video.source, video.split, *group])
    return rows
