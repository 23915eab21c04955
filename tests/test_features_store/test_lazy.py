"""Arrays that stay on the disk give the rows and views that are asked for."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from features_store import ArraySpec, BadInput, BranchSpec, Damaged, Store, chunks
from features_store.lazy import LazyRows
from features_store.place import LocalPlace, View
from tests.test_features_store import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from features_store.chunks import Array

KEY = "tokens/tokens"
VIDEOS = 10


def spec(**array: Any) -> BranchSpec:  # noqa: ANN401 (as ArraySpec has it)
    tokens = ArraySpec(shape=(4, 5, 3), **array)
    return BranchSpec(name="tokens", preset="x", fingerprint="0" * 8, arrays={"tokens": tokens})


def filled(path: Path, of: BranchSpec) -> Store:
    store = samples.new_store(path, VIDEOS)
    branch = store.branch(samples.PROTOCOL, of, shard_rows=4)
    for shard in range(branch.shards):
        rows = [samples.numbers("tokens", row, of) for row in branch.rows(shard)]
        branch.write_shard(shard, {"tokens": np.stack(rows)})
    return store


def lazy(store: Store, **options: Any) -> LazyRows:  # noqa: ANN401 (as table has it)
    return store.table([KEY], lazy=[KEY], **options).lazy[KEY]


@pytest.mark.parametrize(
    "array", [{}, {"quantise": "int8"}, {"compression": "zstd"}], ids=["plain", "int8", "zstd"]
)
@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(7, 2, -2),
        np.array([9, 0, 0, 5]),
        np.arange(10) % 3 == 0,
        (slice(2, 9), slice(1, 3)),
        (np.array([8, 1]), np.array([3, 0, 0])),
        (np.array([8, 1]), slice(None, None, -1)),
    ],
    ids=str,
)
def test_rows_and_views_are_those_of_the_whole_array(
    tmp_path: Path,
    array: dict[str, str],
    index: Any,  # noqa: ANN401 (as NumPy has it)
) -> None:
    store = filled(tmp_path / "s", spec(**array))
    whole = store.table([KEY]).arrays[KEY]
    rows, views = index if isinstance(index, tuple) else (index, slice(None))
    found = lazy(store)[index]
    assert found.dtype == whole.dtype
    assert np.array_equal(found, whole[rows][:, views])
    assert np.array_equal(lazy(store).take(rows)[:, views], whole[rows][:, views])


def test_a_view_is_a_slice_or_a_list(tmp_path: Path) -> None:
    rows: Any = lazy(filled(tmp_path / "s", spec()))
    with pytest.raises(BadInput, match="a slice or a list"):
        rows[:, 2]


def test_a_chunk_is_checked_when_it_is_first_read_of_and_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = 0
    real: Callable[..., int] = chunks._crc

    def counting(*parts: bytes | memoryview, start: int = 0) -> int:
        nonlocal checked
        checked += sum(len(part) for part in parts)
        return real(*parts, start=start)

    store = filled(tmp_path / "s", spec())
    chunk = 4 * 4 * 5 * 3 * 2
    monkeypatch.setattr(chunks, "_crc", counting)
    rows = lazy(store)
    before = checked
    for _ in range(3):
        for row in (0, 1, 2, 3):
            assert len(rows[np.array([row])]) == 1
    assert chunk <= checked - before < 2 * chunk
    before = checked
    trusting = lazy(Store.open(tmp_path / "s"), verify=False)
    opened = checked - before
    trusting[np.arange(8)]
    assert checked - before - opened < chunk  # records alone


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


def test_damage_is_noticed_unless_the_disk_is_trusted(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", spec())
    good = lazy(store)[:]
    flip(tmp_path / "s" / samples.PROTOCOL / "tokens-x@00000000/tokens/c.1.0.0.0")
    with pytest.raises(Damaged, match="checksum"):
        lazy(store)[:]
    assert np.array_equal(lazy(store)[:4], good[:4])
    trusted: Array = lazy(store, verify=False)[:]
    assert (trusted != good).sum() == 1


def test_chunks_that_were_replaced_since_are_read_as_they_are_now(tmp_path: Path) -> None:
    """The record that named the old ones is known already; the new one names the new."""
    of = spec()
    store = samples.new_store(tmp_path / "s", 4)
    branch = store.branch(samples.PROTOCOL, of, shard_rows=4)
    arrays = {"tokens": np.stack([samples.numbers("tokens", row, of) for row in range(4)])}
    branch.write_shard(0, arrays, np.array([1, 0, 0, 0], np.uint8))
    rows = lazy(store, allow_missing=True)
    assert np.array_equal(rows[:], arrays["tokens"][:1])
    other = Store.open(tmp_path / "s").branch(samples.PROTOCOL, of)
    other.write_shard(0, arrays, np.array([0, 1, 1, 1], np.uint8))
    assert np.array_equal(rows[:], arrays["tokens"][:1])


def test_a_chunk_that_is_replaced_behind_its_record_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = spec()
    store = samples.new_store(tmp_path / "s", 4)
    branch = store.branch(samples.PROTOCOL, of, shard_rows=4)
    arrays = {"tokens": np.stack([samples.numbers("tokens", row, of) for row in range(4)])}
    branch.write_shard(0, arrays, np.array([1, 0, 0, 0], np.uint8))
    real, replaced = LocalPlace.view, False

    def view(place: LocalPlace, key: str) -> View | None:
        """Between a reader's look at the record and at the chunk somebody commits."""
        nonlocal replaced
        if "/tokens/" in key and not replaced:
            replaced = True
            other = Store.open(tmp_path / "s").branch(samples.PROTOCOL, of)
            other.write_shard(0, arrays, np.array([0, 1, 1, 1], np.uint8))
        return real(place, key)

    monkeypatch.setattr(LocalPlace, "view", view)
    content = store.open_branch(samples.PROTOCOL, "tokens").read_shard(0)
    assert content.status.tolist() == [1, 1, 1, 1]
    assert np.array_equal(content.parts["tokens"], arrays["tokens"])
