"""Rows that an earlier run made and that still hold: found by video and version, whatever part or
file they are in."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extract.errors import is_temporary
from heads.scoring.formats import Block, read_blocks
from heads.scoring.output import Output
from heads.scoring.versions import key

_BLOCK = 65_536
_ROW = (1 << 32) - 1
_OPEN = 4
"""Parts that are held in memory while rows are put in order."""
_NOT_THERE = "it cannot be opened"
"""How a reason begins that has nothing to do with the file's content."""


def may_pass(reason: str) -> bool:
    """Whether a video that failed so is tried again by the same command."""
    return is_temporary(reason) or reason.startswith(_NOT_THERE)


def is_settled(output: Output, inputs: str, *, retry_failed: bool) -> bool:
    """Everything was scored before, and what failed would fail again."""
    if not output.is_done(inputs):
        return False
    if not output.counts().failed:
        return True
    reasons = (
        reason
        for block in read_blocks(output.out)
        for reason in block["error"].drop_null().to_pylist()
    )
    return not retry_failed and not any(map(may_pass, reasons))


class KeptRows:
    """Where each input's row is, among the parts of an output; and which inputs have none."""

    def __init__(
        self, output: Output, made_of: Sequence[bytes], ids: Sequence[str], *, retry_failed: bool
    ) -> None:
        """`made_of`: the keys of the inputs, in order."""
        self._output = output
        self._made_of = made_of
        self._at = {each: position for position, each in enumerate(made_of)}
        self._refs = np.full(len(made_of), -1, np.int64)
        self._names: list[str] = []
        self.failed = np.zeros(len(made_of), bool)
        """Failed before, and is tried again."""
        self.gone: dict[str, str] = {}
        """Id → path of videos that have rows and are no inputs any more."""
        self._read(retry_failed=retry_failed)
        places = {name: position for position, name in enumerate(ids)} if self.gone else {}
        self.changed = np.zeros(len(made_of), bool)
        """Had a row of another version of the file."""
        for name in [name for name in self.gone if name in places]:
            self.changed[places[name]] = self._refs[places[name]] < 0
            del self.gone[name]
        self.left = np.flatnonzero(self._refs < 0)
        self.notes = self._notes()

    def take(self, name: str, positions: NDArray[np.int64]) -> None:
        """A part that was just written has the rows of these inputs."""
        self._names.append(name)
        self._refs[positions] = ((len(self._names) - 1) << 32) | np.arange(len(positions))

    def names_of(self, positions: NDArray[np.int64]) -> list[str]:
        """Keys as texts, for a part's name and for what it was begun with."""
        return [self._made_of[i].hex() for i in positions.tolist()]

    def positions_of(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Of these, the inputs that have no row yet."""
        found = [self._at.get(bytes.fromhex(name), -1) for name in names]
        return np.array([i for i in found if i >= 0 and self._refs[i] < 0], np.int64)

    def blocks(self) -> Iterator[tuple[int, Block]]:
        """First position, and rows in the order of the inputs."""
        held: dict[int, Block] = {}
        for start in range(0, len(self._refs), _BLOCK):
            refs = self._refs[start : start + _BLOCK]
            parts, rows = refs >> 32, refs & _ROW
            pieces, places = [], []
            for part in np.unique(parts).tolist():
                if part not in held:
                    held[part] = self._output.read(self._names[part])
                    while len(held) > _OPEN:
                        held.pop(next(iter(held)))
                mine = np.flatnonzero(parts == part)
                pieces.append(held[part].take(pa.array(rows[mine])))
                places.append(mine)
            order = np.argsort(np.concatenate(places))
            yield start, pa.concat_tables(pieces).take(pa.array(order))

    def _read(self, *, retry_failed: bool) -> None:
        columns = ["id", "path", "size", "modified", "error"]
        good = np.zeros(len(self._refs), bool)
        for name in self._output.parts():
            block = self._output.read(name, columns)
            self._names.append(name)
            part = len(self._names) - 1
            for row, each in enumerate(zip(*(c.to_pylist() for c in block.columns), strict=True)):
                video_id, path, size, modified, error = each
                position = self._at.get(key(video_id, (size, modified)))
                if position is None:
                    self.gone[video_id] = path
                elif not error or not good[position]:
                    good[position] |= not error
                    again = bool(error) and (retry_failed or may_pass(error))
                    self.failed[position] = again
                    self._refs[position] = -1 if again else (part << 32) | row

    def _notes(self) -> list[str]:
        if not self._names:
            return []
        new = len(self.left) - int(self.changed.sum()) - int(self.failed.sum())
        counted = (
            (int((self._refs >= 0).sum()), "rows still hold"),
            (int(self.changed.sum()), "videos were replaced and are scored again"),
            (int(self.failed.sum()), "that failed are tried again"),
            (new, "are new"),
            (len(self.gone), "are gone"),
        )
        return ["; ".join(f"{count} {what}" for count, what in counted if count)]
