"""What a run's folder holds that a report can show, by the names that other commands give.

Looked for in the folder and two levels below; hidden folders and stores are passed by.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heads.errors import BadRun
from heads.reporting.scores import SUFFIXES

DEPTH = 2
NAMES: Mapping[str, str] = {
    "bundle.json": "telltale train",
    "evaluation.json": "telltale evaluate --out",
    "comparison.json": "telltale compare",
    "ablation.csv": "telltale ablate",
    "tune.json": "telltale tune",
    "cross.svg": "telltale cross --out",
    "robustness.json": "telltale robustness --out",
    "audit.txt": "telltale audit >",
    **{f"scores{suffix}": "telltale score --out" for suffix in SUFFIXES},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """Name → places, nearest to the top first."""

    run: Path
    places: Mapping[str, Sequence[Path]]

    def of(self, *names: str) -> list[Path]:
        return [place for name in names for place in self.places.get(name, ())]

    def title(self, path: Path) -> str:
        """The folder inside the run, or the run itself."""
        inside = path.parent.relative_to(self.run).as_posix()
        return self.run.resolve().name if inside == "." else inside


def find(run: Path) -> RunFiles:
    if not run.is_dir():
        raise BadRun(f"{run} is no folder; give the folder that holds a run's results.")
    places: dict[str, list[Path]] = {}
    for path in _walk(run, DEPTH):
        if path.name in NAMES:
            places.setdefault(path.name, []).append(path)
    if not places:
        expected = "; ".join(f"{name} ({command})" for name, command in NAMES.items())
        raise BadRun(
            f"{run} holds nothing that a report shows, in itself and {DEPTH} levels below. It "
            f"looks for: {expected}."
        )
    return RunFiles(run=run, places=places)


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Files of a level before those below it."""
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if entry.name[0] != "."), key=lambda e: e.name)
    if any(entry.name == "zarr.json" for entry in entries):
        return
    yield from (Path(entry.path) for entry in entries if entry.is_file())
    if depth:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), depth - 1)
