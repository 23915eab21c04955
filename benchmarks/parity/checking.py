"""Golden files in a folder → rows, by whichever system knows each."""

import importlib
import json
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.parity import systems
from benchmarks.parity.rows import Kind, Row


def check(folder: Path) -> tuple[list[Row], list[str]]:
    """All rows, and the files that this version does not know."""
    rows: list[Row] = []
    unknown: list[str] = []
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
        described = json.loads(path.read_text())
        kind = kind_of(path, described)
        if kind is None:
            unknown.append(str(path.relative_to(folder)))
        else:
            rows += kind(path, described)
    return rows, unknown


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    """How a golden file is recomputed; none if no system knows it."""
    found = (system.kind_of(path, described) for system in _systems())
    return next((kind for kind in found if kind is not None), None)


def _systems() -> list[ModuleType]:
    found = pkgutil.iter_modules(systems.__path__)
    return [importlib.import_module(f"{systems.__name__}.{module.name}") for module in found]
