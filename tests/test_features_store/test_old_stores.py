"""Stores made by earlier versions open for ever."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from features_store import BadInput, Store, WriteFailed, check, hdf5
from features_store.place import LocalPlace
from features_store.place.remote import RemotePlace
from features_store.schema import FORMAT_VERSION
from tests.data.make_store import FORMATS, TOKENS, store_of, tokens_of
from tests.test_features_store import samples

of_every_format = pytest.mark.parametrize("version", FORMATS)


@pytest.fixture
def copy(version: int, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_of(version), tmp_path / "s"))


def test_the_present_format_is_among_them() -> None:
    assert max(FORMATS) == FORMAT_VERSION


@of_every_format
def test_an_old_store_reads_as_it_was_written(version: int) -> None:
    path = store_of(version)
    store = Store.open(path)
    assert store.info()["format"] == version
    assert (store.scheme, store.classes) == ("hfv4", samples.CLASSES)
    assert check.verify(LocalPlace(path)) == []
    table = store.table(["internvideo2/cls", "internvideo2/depth"])
    assert table.rows.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    for i, row in enumerate(table.rows.tolist()):
        assert table.ids[i] == f"generator {row % 3}/clip é{row}.mp4"
        for name in ("cls", "depth"):
            assert np.array_equal(
                table.arrays[f"internvideo2/{name}"][i], samples.numbers(name, row)
            )
    assert store.open_branch(samples.PROTOCOL, "internvideo2").errors() == {
        3: "clip 3 has no frames"
    }
    groups = [""] * 9 if version == 1 else [f"prompt {row // 2}" for row in range(9)]
    assert store.videos.column("group").tolist() == groups


@of_every_format
def test_quantised_and_compressed_arrays_too(version: int) -> None:
    store = Store.open(store_of(version))
    table = store.table(["depthpro/tokens", "depthpro/zipped"], allow_missing=True)
    assert table.rows.tolist() == [0, 1, 2, 4]
    assert np.array_equal(table.arrays["depthpro/tokens"], np.load(tokens_of(version)))
    for i, row in enumerate(table.rows.tolist()):
        zipped = samples.numbers("zipped", row, TOKENS)
        assert np.array_equal(table.arrays["depthpro/zipped"][i], zipped)


@of_every_format
def test_plain_zarr_reads_it(version: int) -> None:
    group: Any = zarr.open_group(store_of(version), mode="r")
    branch = group[f"{samples.PROTOCOL}/{samples.SPEC.group}"]
    assert branch["status"][:].tolist() == [1, 1, 1, 2, 1, 1, 1, 1, 1]
    assert np.array_equal(branch["cls"][4], samples.numbers("cls", 4))
    assert branch["error"][3] == "clip 3 has no frames"


@of_every_format
def test_it_is_extended_in_its_own_format(version: int, copy: Path) -> None:
    store = Store.open(copy)
    store.add_videos(samples.video_columns(9, 13))
    branch = store.branch(samples.PROTOCOL, samples.SPEC)
    for shard in branch.missing_shards():
        status = branch.read_status(shard)
        assert (status == 0).any()
        samples.write(branch, shard, only=[9, 12])
        samples.write(branch, shard)
    other = store.branch("val", samples.SPEC, shard_rows=4)
    samples.write(other, 0)
    assert len(store.table(["internvideo2/cls"], protocol=samples.PROTOCOL)) == 11
    assert check.verify(store.place) == []
    assert Store.open(copy).info()["format"] == version
    assert other.stored("cls")["cls"].key(0).endswith("c/0/0/0" if version == 1 else "c.0.0.0")
    with pytest.raises(ValueError, match="read-only"):
        store.videos.column("label")[0] = 1


@of_every_format
@pytest.mark.parametrize("name", ["cls", "status", "zarr.json"])
def test_damage_is_found_and_repaired_in_its_own_format(
    version: int, copy: Path, name: str
) -> None:
    expected = samples.contents(Store.open(copy))
    folder = copy / samples.PROTOCOL / samples.SPEC.group
    keys = {1: {"cls": "cls/c/1/0/0", "status": "status/c/1"}, 2: {"cls": "cls/c.1.0.0"}}
    chunk = folder / keys[version].get(name, "status/c.1" if name == "status" else name)
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    findings = check.verify(LocalPlace(copy))
    assert [finding.place for finding in findings] == [str(chunk)]
    assert check.repair(LocalPlace(copy), findings) == []
    assert check.verify(LocalPlace(copy)) == []
    branch = Store.open(copy).branch(samples.PROTOCOL, samples.SPEC)
    for shard in branch.missing_shards():
        samples.write(branch, shard)
    assert samples.contents(Store.open(copy)) == expected


@pytest.mark.parametrize("version", [1])
def test_export_and_import_make_a_store_of_the_present_format(copy: Path, tmp_path: Path) -> None:
    hdf5.export_store(Store.open(copy), tmp_path / "s.h5")
    hdf5.import_store(tmp_path / "s.h5", tmp_path / "new")
    new = Store.open(tmp_path / "new")
    assert new.info()["format"] == FORMAT_VERSION
    assert samples.contents(new) == samples.contents(Store.open(copy))


@pytest.mark.parametrize("version", [1])
def test_format_1_has_no_column_for_groups(copy: Path) -> None:
    with pytest.raises(BadInput, match=r"no column group.*import the file into a new store"):
        Store.open(copy).add_videos({"id": ["new"], "group": ["p"]})


def test_format_1_is_not_continued_where_no_lock_keeps_writers_apart() -> None:
    obstore_store = pytest.importorskip("obstore.store")
    from zarr.storage import ObjectStore

    memory = ObjectStore(obstore_store.MemoryStore())
    place = RemotePlace(memory, "bucket")
    for file in store_of(1).rglob("*"):
        if file.is_file():
            place.put(file.relative_to(store_of(1)).as_posix(), [file.read_bytes()])
    store = Store.open(place)
    assert len(store.table(["internvideo2/cls"])) == 8
    branch = store.open_branch(samples.PROTOCOL, "internvideo2")
    with pytest.raises(WriteFailed, match=r"format 1, which only a folder.*store export"):
        samples.write(branch, 0)
    with pytest.raises(WriteFailed, match="format 1, which only a folder"):
        store.add_videos({"id": ["new"]})
