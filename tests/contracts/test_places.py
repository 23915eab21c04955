"""Every kind of place keeps the same promises."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import obstore.store
import pytest
from zarr.storage import MemoryStore, ObjectStore

from features_store import Store, StoreError, WriteFailed
from features_store.place import Location, Place, open_place
from tests.test_features_store import samples

if TYPE_CHECKING:
    from collections.abc import Callable

_serial = itertools.count()


@pytest.fixture(params=["folder", "zarr memory", "fsspec memory", "obstore folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kinds: dict[str, Callable[[], Location]] = {
        "folder": lambda: tmp_path / "place",
        "zarr memory": MemoryStore,
        "fsspec memory": lambda: f"memory://place{next(_serial)}",
        "obstore folder": lambda: ObjectStore(
            obstore.store.LocalStore(str(tmp_path / "objects"), mkdir=True)
        ),
    }
    return open_place(kinds[request.param]())


def test_values_come_back_whole(place: Place) -> None:
    place.put("a/b/c", [b"one", memoryview(b"two")])
    assert place.get("a/b/c") == b"onetwo"
    assert place.size("a/b/c") == 6
    assert place.get("a/b/d") is None
    assert place.size("a/b/d") is None
    assert place.get_many(["a/b/d", "a/b/c"]) == [None, b"onetwo"]


@pytest.mark.parametrize("size", [6, 200_000])
def test_a_view_stays_what_it_was(place: Place, size: int) -> None:
    place.put("k", [bytes(size)])
    view = place.view("k")
    assert view is not None
    place.put("k", [b"other"])
    assert bytes(view.memory) == bytes(size)
    later = place.view("k")
    assert later is not None
    assert bytes(later.memory) == b"other"
    assert later.identity is None or later.identity != view.identity
    assert place.view("none") is None


def test_put_replaces_and_put_new_does_not(place: Place) -> None:
    place.put("k", [b"1"])
    place.put("k", [b"2"])
    place.put_new("k", [b"3"])
    place.put_new("new", [b"4"])
    assert place.get("k") == b"2"
    assert place.get("new") == b"4"


def test_folders_are_listed_and_removed(place: Place) -> None:
    for key in ("a/x/1", "a/y/2", "a/z", "b/3"):
        place.put(key, [b"."])
    assert place.children("a") == ["x", "y", "z"]
    assert set(place.children("")) == {"a", "b"}
    assert place.children("nowhere") == []
    assert sorted(place.walk("a")) == ["a/x/1", "a/y/2", "a/z"]
    place.delete_tree("a/x")
    place.delete("a/z")
    place.delete("a/z")
    assert sorted(place.walk("")) == ["a/y/2", "b/3"]


def test_a_whole_store_lives_there(place: Place) -> None:
    samples.full_store(place)
    store = Store.open(place)
    store.add_videos(samples.video_columns(11, 13))
    branch = store.branch(samples.PROTOCOL, samples.SPEC)
    assert branch.missing_shards() == [2, 3]
    for shard in branch.missing_shards():
        samples.write(branch, shard)
    table = Store.open(place).table(["internvideo2/cls", "internvideo2/depth"])
    assert len(table) == sum(not samples.failed(row) for row in range(13))
    for position, row in enumerate(table.rows.tolist()):
        for name in ("cls", "depth"):
            expected = samples.numbers(name, row)
            assert table.arrays[f"internvideo2/{name}"][position].tobytes() == expected.tobytes()


def test_a_dead_writers_lease_is_named_and_swept(tmp_path: Path) -> None:
    from features_store.sweep import leftovers

    place = open_place(ObjectStore(obstore.store.LocalStore(str(tmp_path), mkdir=True)))
    store = samples.new_store(place, 2)
    place.put("videos/being-extended", [b"process 1 on elsewhere"])
    with pytest.raises(StoreError, match=r"process 1 on elsewhere.*store gc"):
        store.add_videos(samples.video_columns(2, 3))
    assert leftovers(place, 3600) == ["videos/being-extended"]
    place.delete("videos/being-extended")
    assert store.add_videos(samples.video_columns(2, 3)).tolist() == [2]


def test_a_driver_that_fails_is_a_store_error() -> None:
    class Broken(MemoryStore):
        async def get(self, *arguments: object, **options: object) -> None:
            raise PermissionError("denied")

        async def set(self, *arguments: object, **options: object) -> None:
            raise PermissionError("denied")

    place = open_place(Broken())
    with pytest.raises(StoreError, match=r"PermissionError: denied.*credentials"):
        place.get("k")
    with pytest.raises(WriteFailed, match="nothing committed is lost"):
        place.put("k", [b"x"])
