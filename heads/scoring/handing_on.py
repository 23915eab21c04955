"""A command that gets each row of a watched folder, as JSON on its standard input.

Rows are handed on after they are written, so a command that fails costs no row: it is said, and the
row is handed on again when the same `telltale score --watch` starts anew. A list beside the file of
rows names those that were taken. A kill between a command's end and that list hands a row on twice,
never not at all. No shell takes part: the command is split into words as a shell would, and run.
"""

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from features_store.outputs import Log
from heads.errors import BadSetting
from heads.scoring.formats import current, json_line, json_rows

SECONDS = 60.0
"""After which a command is ended, and counts as failed."""
_SHOWN = 200
"""Of what a failed command said."""
Key = tuple[object, ...]


class HandingOn:
    """One command, and the rows that it has taken."""

    def __init__(
        self, command: str, out: Path, made_from: Mapping[str, Any], *, overwrite: bool
    ) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise BadSetting(f"--exec {command!r} is no command: {error}.") from error
        if not self._words:
            raise BadSetting("--exec needs a command, such as --exec 'python notify.py'.")
        if shutil.which(self._words[0]) is None:
            raise BadSetting(
                f"--exec: {self._words[0]!r} is no program here. Give its path; for pipes and "
                "variables, --exec \"sh -c '…'\"."
            )
        self._log = Log(
            out.with_name(f".{out.name}.taken"), "score", {**made_from, "exec": command},
            overwrite=overwrite,
        )  # fmt: skip
        self._taken: set[Key] = set()

    def begin(self) -> None:
        """Go on with the list of what was taken."""
        self._log.begin()
        self._taken = {_key(row) for row in json_rows(self._log.path)}

    def catch_up(self, rows: Path) -> Iterator[str]:
        """Hand on what the file of rows holds and nobody took: the rows that count."""
        found = list(json_rows(rows))
        for row in map(found.__getitem__, current(found)):
            if _key(row) not in self._taken:
                yield from self.hand_on(row)

    def hand_on(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Run the command; what to tell the user, if it failed."""
        why = self._run(json_line(row))
        if why:
            yield f"--exec failed for {row['id']}: {why}; the next start hands it on again"
            return
        self._taken.add(_key(row))
        self._log.append(json_line({n: row[n] for n in ("id", "size", "modified")}).encode())

    def _run(self, line: str) -> str:
        """Nothing if it went well, else why not."""
        try:
            done = subprocess.run(
                self._words, input=line.encode(), capture_output=True, timeout=SECONDS, check=False,
                start_new_session=True,  # a Ctrl-C is for us; the command ends by itself
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"it took more than {SECONDS:g} seconds"
        except OSError as error:
            return str(error.strerror or error)
        said = done.stderr.decode(errors="replace").strip().replace("\n", " ")[-_SHOWN:]
        return f"it ended with {done.returncode}: {said}" if done.returncode else ""


def _key(row: Mapping[str, Any]) -> Key:
    return row["id"], row["size"], row["modified"]
