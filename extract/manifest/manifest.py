"""A manifest: the table of videos, whatever form it came in.

Reads the HFV layout, tables (CSV, Parquet, JSONL), plain lists, and folders; checks every row and
reports all problems at once with their line numbers. It looks at names and columns only: whether
a file exists is asked when `check_files` is set, whether it decodes is asked by decoding only.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadManifest
from extract.manifest import layouts, sources
from extract.manifest.checking import Checker
from extract.manifest.labels import UNLABELLED, LabelScheme, label_scheme
from extract.manifest.names import escaped
from extract.manifest.options import ManifestOptions
from extract.manifest.texts import Texts
from extract.manifest.video import Video
from extract.manifest.video_table import VideoTable

__all__ = ["Manifest", "ManifestOptions", "Video", "read_manifest", "table_rows"]

Columns = dict[str, Sequence[Any] | NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Videos below one root, and the scheme that their labels are numbered in."""

    root: Path
    scheme: LabelScheme | None
    """None only where no video has a label."""
    videos: Sequence[Video]
    notes: tuple[str, ...] = ()
    """What a known benchmark has that is not here."""

    @property
    def table(self) -> VideoTable:
        """The videos as columns."""
        return VideoTable.of(str(self.root), self.videos)

    def columns(self) -> Columns:
        """What `features_store` keeps of each video, column by column."""
        table = self.table
        found: Columns = {
            "id": table.ids,
            "path": Texts(map(escaped, table.paths())),
            "label": table.labels,
            "rank": table.ranks,
            "source": table.sources,
            "split": table.splits,
        }
        return found | ({"group": table.groups} if any(table.groups.known()) else {})

    def only_split(self, split: str) -> "Manifest":
        """The videos of one split."""
        table = self.table
        known = table.splits.known()
        places = np.flatnonzero(table.splits.among(n for n in known if split in n.split("+")))
        if not len(places):
            have = sorted({part for name in known for part in name.split("+")})
            problem = f"no video in split {split!r}; have: {', '.join(have) or 'none'}"
            raise BadManifest(str(self.root), [problem])
        return replace(self, videos=table.take(places.tolist()))


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
    checker = Checker(name, source, options)
    videos = checker.checked()
    return Manifest(
        root=source.root, scheme=checker.scheme, videos=videos, notes=tuple(source.notes)
    )


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
