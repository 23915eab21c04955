"""The paper's own numbers, for printing beside ours: HumanSAM's Tables 2 to 5 as printed.

They are kept in `paper.json` under the paper's column names and handed out under HFV's folder
names, which are our sources. Where the paper contradicts itself, `notes` says so.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

OWN = "HumanSAM"
"""The paper's own method among the rows."""
_PRINTED_MEAN = "Avg."
_TABLES = {4: "table 2, 4 classes", 2: "table 4, 2 classes"}
_ABLATION = "table 3, ablation, 4 classes"
_DAMAGE = "table 5, AUC on CogVideoX-5B"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One number pair of a table, in percent."""

    accuracy: float
    auc: float

    def __str__(self) -> str:
        return f"{self.accuracy:.1f} / {self.auc:.1f}"


Rows = Mapping[str, Mapping[str, Cell]]
"""Method → our column → what is printed."""


def rows(classes: int, sources: Iterable[str], average: str) -> Rows:
    """Table 2 (four classes) or 4 (two) in our columns; empty where no source is in it.

    The mean is given under the name `average` only where the sources are just the table's eight
    generators: a mean over other columns is another number.
    """
    return _in_our_columns(_TABLES.get(classes, ""), sources, average)


def ablation_rows(sources: Iterable[str], average: str) -> Rows:
    """Table 3 in our columns."""
    return _in_our_columns(_ABLATION, sources, average)


def damage() -> Mapping[str, float]:
    """Table 5: our name of a perturbation ("" for none) → AUC in percent on CogVideoX-5B."""
    ours = {"none": "", "blur 3": "blur3", "JPEG 50": "jpeg50", "resize 0.7": "resize0.7"}
    return {ours.get(name, name): float(auc) for name, auc in _document()[_DAMAGE].items()}


DAMAGE_SOURCE = "CogVideoX-5B_human_dim"
"""The one generator of Table 5."""


def notes(classes: int) -> Sequence[str]:
    """Where a printed mean of Table 2 or 4 is not the mean of its printed columns."""
    found = []
    for method, cells in _document().get(_TABLES.get(classes, ""), {}).items():
        columns = [cell for name, cell in cells.items() if name != _PRINTED_MEAN]
        for place, what in enumerate(("accuracy", "AUC")):
            mean = sum(cell[place] for cell in columns) / len(columns)
            printed = cells[_PRINTED_MEAN][place]
            if abs(mean - printed) > 0.1:
                found.append(
                    f"{method}'s mean {what} is printed as {printed:.1f}; the mean of its printed "
                    f"columns is {mean:.1f}"
                )
    return found


def ablation_lines(sources: Iterable[str], average: str) -> Sequence[str]:
    """Table 3 as lines of text, with what in it contradicts itself; none where no source of ours is
    in it."""
    printed = ablation_rows(sources, average)
    lines = [
        f"paper, Table 3, {row}: " + ", ".join(f"{name} {cell}" for name, cell in cells.items())
        for row, cells in printed.items()
    ]
    odd = [text for text in _document()["inconsistencies as printed"] if "table 3" in text]
    return lines + [f"paper: {text}" for text in odd if lines]


def _in_our_columns(table: str, sources: Iterable[str], average: str) -> Rows:
    there = set(sources)
    folders: Mapping[str, str] = _document()["folders"]
    whole = there == set(folders.values())
    names = {paper: folder for paper, folder in folders.items() if folder in there}
    if not names:
        return {}
    if whole:
        names |= {_PRINTED_MEAN: average}
    return {
        method: {
            name: Cell(accuracy=cells[paper][0], auc=cells[paper][1])
            for paper, name in names.items()
        }
        for method, cells in _document().get(table, {}).items()
    }


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((files("heads.judging") / "paper.json").read_text())
    return document
