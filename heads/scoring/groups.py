"""Near-duplicates in an archive: rows that look like copies of each other have one `group`.

Looks are the hashes of a few frames, which every decode makes anyway; they are a column of their
own, so that a later run compares new files with the rows that it keeps. What counts as a copy is
said by `heads.judging.duplicates`, as for the audit of data sets.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from extract.views.protocol import Protocol
from features_store import frame_hashes
from features_store.store import Store
from heads.errors import BadSetting
from heads.judging import duplicates
from heads.scoring.formats import Block

GROUP, LOOKS = "group", "frame_hashes"
_DIGITS = 16
"""Of a frame's hash."""


def check_protocol(protocol: str) -> None:
    """Copies have to be looked at at the same places."""
    if Protocol.parse(protocol).is_drawn:
        raise BadSetting(
            f"--groups compares frames at the same places of every video, and {protocol} draws "
            f"them; give --protocol val, or another that draws none."
        )


def with_looks(block: Block, store: Store, protocol: str, rows: NDArray[np.int64]) -> Block:
    """Rows of a store's videos with what their frames look like; their group is not known yet."""
    found = frame_hashes.read(store, protocol, rows)
    looks = [_text(frames) if frames.any() else None for frames in found]
    nothing = pa.nulls(len(block), pa.string())
    return block.append_column(GROUP, nothing).append_column(LOOKS, pa.array(looks, pa.string()))


def with_groups(blocks: Callable[[], Iterator[Block]]) -> Iterator[Block]:
    """All rows, each with its group: the first id of it in alphabetical order. They are read
    twice, and 32 bytes a row are held."""
    ids, looks = [pa.array([], pa.string())], [np.empty((0, frame_hashes.FRAMES), np.int64)]
    for block in blocks():
        ids += block["id"].chunks
        looks.append(_numbers(block[LOOKS].to_pylist()))
    names = _names(duplicates.groups(np.concatenate(looks)), pa.chunked_array(ids))
    start = 0
    for block in blocks():
        mine = [names.get(row) for row in range(start, start + len(block))]
        place = block.schema.get_field_index(GROUP)
        yield block.set_column(place, GROUP, pa.array(mine, pa.string()))
        start += len(block)


def _names(groups: NDArray[np.int64], ids: pa.ChunkedArray) -> dict[int, str]:
    """Row → its group, of those that are in one."""
    members = np.flatnonzero(groups >= 0)
    numbers = groups[members].tolist()
    first: dict[int, str] = {}
    for number, name in zip(numbers, ids.take(pa.array(members)).to_pylist(), strict=True):
        first[number] = min(name, first.get(number, name))
    return {row: first[number] for row, number in zip(members.tolist(), numbers, strict=True)}


def _text(frames: NDArray[np.int64]) -> str:
    return frames.astype(">i8").tobytes().hex()


def _numbers(texts: list[str | None]) -> NDArray[np.int64]:
    empty = "0" * _DIGITS * frame_hashes.FRAMES
    content = bytes.fromhex("".join(text or empty for text in texts))
    return np.frombuffer(content, ">i8").astype(np.int64).reshape(-1, frame_hashes.FRAMES)
