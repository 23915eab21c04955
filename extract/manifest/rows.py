"""A manifest's rows as texts, before anything about them is checked."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from extract.manifest.labels import LabelScheme


class Row(NamedTuple):
    """One video as the manifest's text has it; empty text where nothing is given. There may be
    millions, one after another."""

    where: str
    folder: str
    """What `file` is relative to."""
    file: str
    label: str = ""
    rank: str = ""
    score: str = ""
    source: str = ""
    split: str = ""
    group: str = ""


@dataclass(slots=True, kw_only=True)
class Source:
    """What one reader found."""

    root: Path
    scheme: LabelScheme | None = None
    """The scheme that a `labels.json` beside the videos names."""
    scanned: bool = False
    """Found by looking at a folder: no one vouches for a row, its file decides when opened."""
    rows: list[Row] = field(default_factory=list)
    more: Iterable[Row] = ()
    """Rows after those, made one by one; gone through once, and problems are told meanwhile."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a known benchmark has that is not here; no reason to refuse it."""
