"""What the numbers of a row mean: who judged, by which threshold, and what that is worth.

Known from the bundle while it scores, and years later from what a file of scores says of itself.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from heads.bundle import Bundle
from heads.errors import BadRun
from heads.judging.papers import OperatingPoint
from heads.parts.about import About
from heads.parts.model_card import no_verdict, warning
from heads.scoring.formats import Block, plain_rows, read_blocks
from heads.scoring.output import about_file, read_about

_NEEDED = ("head", "scheme", "classes", "protocol", "fingerprints", "branches", "bundle")
_OPTIONAL = ("temperature", "conformal", "calibration", "operating")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """The papers of some scores."""

    about: About
    """The bundle's; `protocol` is the one that was scored by."""
    name: str
    """Of the detector, else of the bundle's folder, else of the head."""
    content: str
    """The bundle's hash."""
    date: str = ""
    """When; empty while it happens."""

    @staticmethod
    def of(bundle: Bundle, name: str = "") -> "Meaning":
        """`name`: what the bundle's folder is called."""
        detector = bundle.about.provenance.get("detector")
        return Meaning(
            about=bundle.about, name=str(detector or name or bundle.about.head),
            content=bundle.content,
        )  # fmt: skip

    @staticmethod
    def read(out: Path) -> "Meaning":
        """From a file of scores, or the one beside it."""
        found = _document(out)
        lacking = [name for name in _NEEDED if name not in found]
        if lacking:
            raise BadRun(
                f"{out} does not say what made it (it lacks {', '.join(lacking)}); `telltale score "
                f"… --out FILE` writes files that do."
            )
        known = {name: found[name] for name in _NEEDED if name != "bundle"}
        known |= {name: found[name] for name in _OPTIONAL if name in found}
        return Meaning(
            about=About(config=found.get("settings", {}), **known),
            name=str(found.get("detector") or found["head"]), content=str(found["bundle"]),
            date=str(found.get("date", "")),
        )  # fmt: skip

    @property
    def point(self) -> OperatingPoint | None:
        """The threshold that flags: the last one counts."""
        return OperatingPoint.read(self.about.operating[-1]) if self.about.operating else None

    @property
    def note(self) -> str:
        """What everybody has to know who reads a verdict."""
        return warning(self.about.branches.values())

    @property
    def no_verdict(self) -> bool:
        """The networks have random weights."""
        return no_verdict(self.about.branches.values())

    @property
    def by(self) -> str:
        """Who judged, and when."""
        when = f", {self.date}" if self.date else ""
        return f"bundle {self.content[:8]} ({self.about.head}), {self.about.protocol}{when}"


def rows_of(out: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """Rows by id, in that order; where a video has several, the last one. Memory stays flat."""
    wanted = list(names)
    found: dict[str, dict[str, Any]] = {}
    for block in read_blocks(out):
        found |= {row["id"]: row for row in plain_rows(_among(block, wanted))}
    missing = [name for name in wanted if name not in found]
    if missing:
        ids = _ids(out)
        near = [name for name in ids if name.startswith(f"{missing[0]}#t=")]  # its segments
        near = near or difflib.get_close_matches(missing[0], ids, 1)
        also = f" Do you mean {near[0]!r}?" if near else ""
        raise BadRun(f"{out} has no row {missing[0]!r}.{also}")
    return [found[name] for name in wanted]


def _ids(out: Path) -> list[str]:
    return [name for block in read_blocks(out) for name in block["id"].to_pylist()]


def only_id(out: Path) -> str | None:
    """The id of the one video that a file is about; None where there are several."""
    found: set[str] = set()
    for block in read_blocks(out):
        found.update(block["id"].to_pylist())
        if len(found) > 1:
            return None
    return next(iter(found), None)


def _among(block: Block, names: list[str]) -> Block:
    return block.filter(pc.is_in(block["id"], pa.array(names, pa.string())))


def _document(out: Path) -> Mapping[str, Any]:
    try:
        return read_about(out)
    except FileNotFoundError as error:
        beside = "" if out.suffix == ".parquet" else f", or {about_file(out).name} beside it"
        raise BadRun(f"{out} is not there{beside}.") from error
    except (OSError, ValueError) as error:
        raise BadRun(f"{out} is no file of scores: {error}") from error
