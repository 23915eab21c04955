"""Every kind of place keeps the same promises."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import obstore.store
import pytest
from zarr.storage import MemoryStore, ObjectStore

from features_store import ReadFailed, Store, WriteFailed
from features_store.errors import Overtaken
from features_store.place import LocalPlace, Location, Place, open_place
from tests.test_features_store import samples
from tests.test_features_store.s3_server import new_bucket, open_bucket, s3_server

if TYPE_CHECKING:
    from collections.abc import Callable

_serial = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "S3", "obstore memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kinds: dict[str, Callable[[], Location]] = {
        "folder": lambda: tmp_path / "place",
        "S3": lambda: new_bucket(request.getfixturevalue("server")),
        "obstore memory": lambda: ObjectStore(obstore.store.MemoryStore()),
    }
    return open_place(kinds[request.param]())


def test_values_come_back_whole(place: Place) -> None:
    place.put("a/b/c", [b"one", memoryview(b"two")])
    assert place.get("a/b/c") == b"onetwo"
    assert place.read("a/b/c").content == b"onetwo"
    assert place.size("a/b/c") == 6
    assert place.get("a/b/d") is None
    assert place.read("a/b/d").content is None
    assert place.size("a/b/d") is None
    assert place.get_many(["a/b/d", "a/b/c"]) == [None, b"onetwo"]


@pytest.mark.parametrize("size", [6, 200_000])
def test_a_view_stays_what_it_was(place: Place, size: int) -> None:
    place.put("k", [bytes(size)])
    view = place.view("k")
    assert view is not None
    assert not view.intact
    view.found_intact()
    again = place.view("k")
    assert again is not None
    assert again.intact == place.locks  # a folder can tell that a file is still the same
    place.put("k", [b"other"])
    assert bytes(view.memory) == bytes(size)
    later = place.view("k")
    assert later is not None
    assert bytes(later.memory) == b"other"
    assert not later.intact
    assert place.view("none") is None


def test_put_replaces_and_put_new_does_not(place: Place) -> None:
    place.put("k", [b"1"])
    place.put("k", [b"2"])
    place.put_new("k", [b"3"])
    place.put_new("new", [b"4"])
    assert place.get("k") == b"2"
    assert place.get("new") == b"4"


def test_what_changed_since_it_was_read_is_not_replaced(place: Place) -> None:
    nothing = place.read("k").version
    first = place.swap("k", [b"1"], nothing)
    if place.locks:  # there the lock does it
        with place.lock("lock"):
            place.swap("k", [b"2"], place.version("k"))
        assert place.get("k") == b"2"
        return
    assert place.version("k") == first == place.read("k").version
    place.swap("k", [b"2"], first)
    for late in (nothing, first):
        with pytest.raises(Overtaken):
            place.swap("k", [b"3"], late)
    assert place.get("k") == b"2"
    place.delete("k")
    with pytest.raises(Overtaken):
        place.swap("k", [b"3"], first)
    assert place.get("k") is None


def test_a_write_that_arrived_although_its_answer_did_not_is_no_conflict(place: Place) -> None:
    nothing = place.read("k").version
    written = place.swap("k", [b"mine"], nothing)
    assert place.swap("k", [b"mine"], nothing) == written


def test_folders_are_listed_and_removed(place: Place) -> None:
    for key in ("a/x/1", "a/y/2", "a/z", "b/3"):
        place.put(key, [b"."])
    assert place.children("a") == ["x", "y", "z"]
    assert {"a", "b"} <= set(place.children(""))
    assert place.children("nowhere") == []
    assert sorted(place.walk("a")) == ["a/x/1", "a/y/2", "a/z"]
    age = place.age("a/z")
    assert age is not None
    assert -5 < age < 60
    assert place.age("none") is None
    place.delete_tree("a/x")
    place.delete("a/z", "none")
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


def test_what_cannot_compare_before_it_replaces_is_not_written(tmp_path: Path) -> None:
    kinds: dict[str, Location] = {
        "MemoryStore": MemoryStore(),
        "FsspecStore": f"memory://place{next(_serial)}",
        "conditional": ObjectStore(obstore.store.LocalStore(str(tmp_path / "o"), mkdir=True)),
    }
    for reason, where in kinds.items():
        assert open_place(where).get("k") is None
        with pytest.raises(WriteFailed, match=rf"(?s){reason}.*[Ww]rite to a folder"):
            samples.new_store(where, 1)


def test_a_server_that_ignores_conditions_is_found_out() -> None:
    with (
        s3_server(heeds_conditions=False) as url,
        pytest.raises(WriteFailed, match="ignores the conditions"),
    ):
        samples.new_store(new_bucket(url), 1)


def test_a_file_url_is_the_folder_it_names(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    samples.full_store(f"file://{str(folder).replace(' ', '%20')}")
    place = open_place(f"file://localhost{folder}")
    assert isinstance(place, LocalPlace)
    assert place.root == folder
    assert Store.open(folder).videos.count == 11


def test_a_driver_that_fails_is_a_store_error(server: str) -> None:
    class Broken(MemoryStore):
        async def get(self, *arguments: object, **options: object) -> None:
            raise PermissionError("denied")

    with pytest.raises(ReadFailed, match=r"PermissionError: denied.*credentials"):
        open_place(Broken()).get("k")
    with pytest.raises(WriteFailed, match=r"cannot be written.*NoSuchBucket|NotFound"):
        open_place(open_bucket(server, "nowhere")).put("k", [b"x"])
