"""Streams give every row once, right, within the memory they promise."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features_store import ArraySpec, BranchSpec, Damaged, Store, stream
from features_store.chunks import Array
from features_store.errors import BadInput
from features_store.place import LocalPlace
from features_store.table import Table
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


def check(part: Table) -> None:
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
    real = stream._allocate

    def counting(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        made.append(real(shape, dtype).nbytes)
        return real(shape, dtype)

    stated = stream.stated_bytes(store.select(KEYS), batch, 4)
    monkeypatch.setattr(stream, "_allocate", counting)
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
    chunk = store.place.root / samples.PROTOCOL / samples.SPEC.group / "cls/c.6.0.0"
    content = bytearray(chunk.read_bytes())
    content[-5] ^= 1
    chunk.write_bytes(content)
    parts = store.stream(KEYS, batch=2, shuffle=shuffle)
    seen: set[int] = set()

    def read_on() -> None:
        for part in parts:
            check(part)
            seen.update(part.rows.tolist())

    with pytest.raises(Damaged, match=r"cls/c\.6\.0\.0"):
        read_on()
    assert not seen & set(range(24, 28))


def test_a_stream_can_be_left(store: Store) -> None:
    for part in store.stream(KEYS):
        assert len(part)
        break
    else:
        pytest.fail("nothing came")


@pytest.mark.parametrize("shuffle", [None, 3])
@pytest.mark.parametrize("kept", ["arrays", "views", "tensors"])
def test_what_is_made_of_a_batch_stays_what_it_was(
    store: Store, kept: str, shuffle: int | None
) -> None:
    make: dict[str, Callable[[Array], Any]] = {
        "arrays": lambda array: array,
        "views": lambda array: array[:, :1, ::2],
        "tensors": lambda array: torch.from_numpy(array)[:, :1, ::2],
    }
    held = []
    for part in store.stream(["internvideo2/cls"], batch=3, shuffle=shuffle):
        held += list(zip(part.rows.tolist(), make[kept](part.arrays[KEYS[0]]), strict=True))
        del part
    for row, seen in held:
        expected = samples.numbers("cls", row)
        expected = expected if kept == "arrays" else expected[:1, ::2]
        assert np.array_equal(np.asarray(seen), expected)


@pytest.mark.parametrize("spans", [2, 5, 1000])
def test_memory_says_how_many_spans_are_held(store: Store, spans: int) -> None:
    span = 4 * sum(array[:1].nbytes for array in store.table(KEYS).arrays.values())

    def rows(hold: int = 4, memory: int | None = None) -> list[list[int]]:
        parts = store.stream(KEYS, batch=3, shuffle=1, hold=hold, memory=memory)
        return [part.rows.tolist() for part in parts]

    assert rows(memory=spans * span) == rows(memory=(spans + 1) * span - 1) == rows(hold=spans)
    assert rows(hold=2) != rows(hold=5)
    with pytest.raises(BadInput, match=f"a span of this takes {span:,} bytes"):
        rows(memory=2 * span - 1)


def test_memory_that_nobody_holds_is_used_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = stream._allocate

    def counting(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        made.append(shape)
        return real(shape, dtype)

    monkeypatch.setattr(stream, "_allocate", counting)
    batches = sum(1 for _ in store.stream(["internvideo2/cls"], batch=2, hold=2))
    assert len(made) < batches / 2


@pytest.mark.parametrize("shuffle", [None, 3])
@pytest.mark.parametrize("parts", [2, 5, 40])
def test_parts_share_out_the_videos(store: Store, parts: int, shuffle: int | None) -> None:
    rows: list[int] = []
    for k in range(parts):
        for part in store.stream(KEYS, batch=3, shuffle=shuffle, part=(k, parts)):
            check(part)
            rows += part.rows.tolist()
    assert sorted(rows) == [row for row in range(50) if not samples.failed(row)]


def test_planning_looks_at_every_span_a_few_times_only() -> None:
    spans = [np.arange(i, i + 1) for i in range(2_000)]
    looks = 0

    class Counted(list[Array]):
        def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 (as list has it)
            nonlocal looks
            looks += len(range(*index.indices(len(self)))) if isinstance(index, slice) else 1
            return super().__getitem__(index)

    class Selected:
        table = Table(
            protocol="val", classes=(), rows=np.arange(2_000), ids=np.arange(2_000),
            labels=np.arange(2_000), ranks=np.arange(2_000), sources=np.arange(2_000),
            splits=np.arange(2_000), arrays={}, fingerprints={},
        )  # fmt: skip
        branches: Mapping[str, Any] = {}

    plan = stream._plan(spans, stream.Order(batch=1))
    plan = dataclasses.replace(plan, spans=Counted(plan.spans))
    chosen: Any = Selected()
    memory = stream._Buffers(chosen, 1)
    assert sum(len(part) for part in stream._batches(chosen, plan, memory, 4, verify=True)) == 2_000
    assert looks < 10 * 2_000
