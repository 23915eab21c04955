"""A run's log for machines that watch: one JSON object a line, `{"time": …, "event": …, …}`.

Events: `start` (videos to do), `progress` (counts), `failed` (one video and why), `commit` (a shard
is in the store, whatever happens now), `end` (counts, and the error that ended the run, if any).
"""

import json
import time
from pathlib import Path
from typing import TextIO


class RunLog:
    """Appends to a file, line by line; without a path it does nothing."""

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, event: str, **details: object) -> None:
        if self._file is not None:
            line = {"time": round(time.time(), 3), "event": event, **details}
            self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
