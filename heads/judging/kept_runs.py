"""Single runs of a study, kept as each ends: a line in `runs.jsonl`, what it said beside it.

A run is known by a hash of all that decides its numbers, so a study that is run again does what is
missing. A torn last line, from a run that was killed, is ignored.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from features_store.commit import make_directory, write_file
from features_store.table import Table
from heads.head import Head
from heads.measuring.metrics import Floats


class KeptRuns:
    """The runs in a folder."""

    def __init__(self, folder: Path) -> None:
        self._log, self._said = folder / "runs.jsonl", folder / "said"
        make_directory(self._said)
        _end_line(self._log)
        self._known = _read(self._log)

    def __contains__(self, key: str) -> bool:
        return key in self._known and self._path(key).exists()

    def keep(self, key: str, means: Floats, **about: object) -> None:
        """Probabilities first: the line says that they are there."""
        write_file(self._path(key), [means.astype(np.float32).tobytes()])
        run = {"key": key, **about}
        with self._log.open("a") as file:
            file.write(json.dumps(run) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._known[key] = run

    def about(self, key: str) -> Mapping[str, Any]:
        return self._known[key]

    def means(self, key: str, videos: int) -> Floats:
        """(videos, classes)"""
        return np.fromfile(self._path(key), np.float32).reshape(videos, -1)

    def _path(self, key: str) -> Path:
        return self._said / f"{key}.f32"


def run_key(head: Head, seed: int, tables: Sequence[Table]) -> str:
    """What decides a run's numbers: the head, and the tables it learns from, is decided and judged
    by."""
    videos = hashlib.sha256()
    for table in tables:
        videos.update("\n".join(map(str, table.ids)).encode())
        videos.update("\n".join(map(str, table.sources)).encode())
        videos.update(table.labels.tobytes() + np.nan_to_num(table.ranks).tobytes())
    parts = {
        "head": head.name, "settings": asdict(head.config), "seed": seed,
        "videos": videos.hexdigest(),
        "protocols": [" ".join((table.protocol, *table.also)) for table in tables],
        "features": dict(sorted(tables[-1].fingerprints.items())),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _read(log: Path) -> dict[str, Mapping[str, Any]]:
    found = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            run = json.loads(line)
            found[run["key"]] = run
        except (ValueError, KeyError, TypeError):  # torn by a kill
            continue
    return found


def _end_line(log: Path) -> None:
    """A torn last line must not swallow the next one."""
    if log.exists() and not log.read_bytes().endswith(b"\n") and log.stat().st_size:
        with log.open("a") as file:
            file.write("\n")
