"""A manifest's rows as texts, before anything about them is checked."""

from dataclasses import dataclass, field
from pathlib import Path

from extract.manifest.labels import LabelScheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One video as the manifest's text has it; empty text where nothing is given."""

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
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a known benchmark has that is not here; no reason to refuse it."""
