"""How a manifest is read."""

from dataclasses import dataclass
from pathlib import Path


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
