"""Streams give every row once, right, within the memory they promise."""

from pathlib import Path

import numpy as np
import pytest

from features_store import ArraySpec, BranchSpec, Store, stream, table
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
@pytest.mark.parametrize("hold", [3, 4, 9])
def test_in_order(store: Store, batch: int | None, hold: int) -> None:
    seen = []
    for part in store.stream(KEYS, batch=batch, hold=hold):
        check(part)
        assert len(part) <= (batch or 4)
        seen += part.rows.tolist()
    assert seen == [row for row in range(50) if not samples.failed(row)]


@pytest.mark.parametrize("batch", [None, 1, 5])
@pytest.mark.parametrize("hold", [3, 6])
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
def test_no_more_than_the_stated_spans_are_held(
    store: Store, shuffle: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = stream.empty

    def counting(selection: table.Selection, count: int) -> dict[str, stream.Array]:
        made.append(count)
        return real(selection, count)

    monkeypatch.setattr(stream, "empty", counting)
    for part in store.stream(KEYS, batch=4, hold=4, shuffle=shuffle):
        check(part)
    batches = 0 if shuffle is None else 2  # the one being filled, the one the caller holds
    assert len(made) <= 4 + batches


def test_a_stream_can_be_left(store: Store) -> None:
    for part in store.stream(KEYS):
        assert len(part)
        break
    else:
        pytest.fail("nothing came")


def test_the_bound_is_stated(store: Store) -> None:
    selection = table.select(store, KEYS, None, None, allow_missing=False)
    assert stream.span_bytes(selection) == 4 * (2 * 6 * 2 + 5 * 4)
