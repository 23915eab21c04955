"""Streams give every row once, right, within the memory they promise."""

from pathlib import Path

import numpy as np
import pytest

from features_store import ArraySpec, BranchSpec, Damaged, Store, stream, table
from features_store.chunks import Array
from features_store.places import LocalPlace
from tests.test_features_store import samples

KEYS = ["internvideo2/cls", "depthpro/depth"]
DEPTH = BranchSpec(
    name="depthpro",
    preset="tiny",
    fingerprint="77e0c411",
    arrays={"depth": ArraySpec(shape=(5,), dtype="float32")},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two branches whose shards do not line up, failures in both."""
    store = samples.full_store(tmp_path / "s", videos=50, shard_rows=4)
    branch = store.branch(samples.PROTOCOL, DEPTH, shard_rows=7)
    for shard in branch.missing_shards():
        samples.write(branch, shard)
    return store


def check(part: table.Table) -> None:
    for i, row in enumerate(part.rows.tolist()):
        assert np.array_equal(part.arrays[KEYS[0]][i], samples.numbers("cls", row))
        assert np.array_equal(part.arrays[KEYS[1]][i], samples.numbers("depth", row, DEPTH))
        assert part.labels[i] == row % 4


@pytest.mark.parametrize("batch", [None, 1, 3, 64])
@pytest.mark.parametrize("hold", [2, 4, 9])
@pytest.mark.parametrize("verify", [True, False])
def test_in_order(store: Store, batch: int | None, hold: int, *, verify: bool) -> None:
    parts = list(store.stream(KEYS, batch=batch, hold=hold, verify=verify))
    for part in parts:
        check(part)
    assert {len(part) for part in parts[:-1]} <= {batch or 4}
    rows = [row for part in parts for row in part.rows.tolist()]
    assert rows == [row for row in range(50) if not samples.failed(row)]


@pytest.mark.parametrize("batch", [None, 1, 5, 64])
@pytest.mark.parametrize("hold", [2, 3, 6])
def test_shuffled(store: Store, batch: int | None, hold: int) -> None:
    def rows(seed: int) -> list[int]:
        parts = list(store.stream(KEYS, batch=batch, shuffle=seed, hold=hold))
        for part in parts:  # all kept until the end: none may have been overwritten
            check(part)
        assert {len(part) for part in parts[:-1]} <= {batch or 4}
        return [row for part in parts for row in part.rows.tolist()]

    first = rows(1)
    assert sorted(first) == [row for row in range(50) if not samples.failed(row)]
    assert first == rows(1)
    assert first != rows(2)
    assert first != sorted(first)


def test_where_applies(store: Store) -> None:
    rows = [row for part in store.stream(KEYS, where={"split": "val"}) for row in part.rows]
    assert rows == [row for row in range(0, 50, 5) if not samples.failed(row)]


@pytest.mark.parametrize("shuffle", [None, 3])
@pytest.mark.parametrize("batch", [1, 4, 10])
def test_no_more_than_the_stated_memory_is_taken(
    store: Store, shuffle: int | None, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = table.empty

    def counting(selection: table.Selection, count: int) -> dict[str, Array]:
        made.append(sum(array.nbytes for array in real(selection, count).values()))
        return real(selection, count)

    selection = table.select(store, KEYS, None, None, allow_missing=False)
    stated = stream.stated_bytes(selection, batch, 4)
    monkeypatch.setattr(stream, "empty", counting)
    for part in store.stream(KEYS, batch=batch, hold=4, shuffle=shuffle):
        check(part)
    assert sum(made) <= stated


@pytest.mark.parametrize("shuffle", [None, 3])
@pytest.mark.parametrize("read_before", [False, True])
def test_damage_is_noticed_before_a_row_of_it_comes_out(
    store: Store, shuffle: int | None, *, read_before: bool
) -> None:
    assert isinstance(store.place, LocalPlace)
    if read_before:  # a file that was found intact is checked again once it is another
        assert sum(len(part) for part in store.stream(KEYS)) > 0
    chunk = store.place.root / samples.PROTOCOL / samples.SPEC.group / "cls/c/6/0/0"
    content = bytearray(chunk.read_bytes())
    content[-5] ^= 1
    chunk.write_bytes(content)
    parts = store.stream(KEYS, batch=2, shuffle=shuffle)
    seen: set[int] = set()

    def read_on() -> None:
        for part in parts:
            check(part)
            seen.update(part.rows.tolist())

    with pytest.raises(Damaged, match="cls/c/6/0/0"):
        read_on()
    assert not seen & set(range(24, 28))


def test_a_stream_can_be_left(store: Store) -> None:
    for part in store.stream(KEYS):
        assert len(part)
        break
    else:
        pytest.fail("nothing came")
