"""One HDF5 file holds a whole store, and gives it back bit for bit."""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from features_store import (
    ArraySpec,
    BranchSpec,
    NotAStore,
    Store,
    StoreError,
    StoreExists,
    hdf5,
    shard_content,
    video_columns,
)
from features_store.chunks import Array
from features_store.errors import OutputExists
from tests.test_features_store import samples
from tests.test_features_store.test_kill import FORK, tree

TOKENS = BranchSpec(
    name="depthpro",
    preset="tiny",
    fingerprint="77e0c411",
    arrays={
        "tokens": ArraySpec(shape=(2, 5, 3), quantise="int8"),
        "zipped": ArraySpec(shape=(4,), dtype="float32", compression="zstd"),
    },
    provenance={"weights": "seeded"},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two branches, two protocols, failures, and shards that nobody has written."""
    store = samples.full_store(tmp_path / "s", videos=11)
    store.branch("val", samples.SPEC, shard_rows=3, protocol_details={"views": 1})
    branch = store.branch(samples.PROTOCOL, TOKENS, shard_rows=2)
    for shard in (0, 2, 5):
        samples.write(branch, shard)
    return store


def test_a_round_trip_is_bit_exact(store: Store, tmp_path: Path) -> None:
    hdf5.export_store(store, tmp_path / "s.h5")
    hdf5.import_store(tmp_path / "s.h5", tmp_path / "copy")
    assert tree(tmp_path / "copy") == tree(tmp_path / "s")
    hdf5.export_store(Store.open(tmp_path / "copy"), tmp_path / "again.h5")
    with h5py.File(tmp_path / "s.h5") as one, h5py.File(tmp_path / "again.h5") as two:
        names: list[str] = []
        one.visit(names.append)
        assert len(names) > 20
        for name in names:
            if isinstance(one[name], h5py.Dataset):
                assert one[name][()].tobytes() == two[name][()].tobytes() or (
                    one[name].dtype == object and list(one[name]) == list(two[name])
                )


def test_others_can_read_the_file(store: Store, tmp_path: Path) -> None:
    hdf5.export_store(store, tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        group = file[f"{samples.PROTOCOL}/{samples.SPEC.group}"]
        assert np.array_equal(group["cls"][4], samples.numbers("cls", 4))
        assert group["error"].asstr()[3] == "clip 3 has no frames"
        assert file["videos/id"].asstr()[4] == "generator 1/clip é4.mp4"


def test_a_nul_in_an_old_stores_text_is_exported_as_a_sign_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New texts cannot hold one; an earlier version let them in."""
    real = video_columns.typed

    def lax(name: str, values: Sequence[Any] | Array) -> Array:
        return np.array(values, np.dtypes.StringDType()) if name == "source" else real(name, values)

    monkeypatch.setattr(video_columns, "typed", lax)
    monkeypatch.setattr(shard_content, "NUL", "\0")
    store = samples.new_store(tmp_path / "s", 0)
    store.add_videos({"id": ["a"], "source": ["x\0y"]})
    branch = store.branch(samples.PROTOCOL, samples.SPEC)
    arrays = {n: np.zeros((1, *a.shape), a.dtype) for n, a in samples.SPEC.arrays.items()}
    branch.write_shard(0, arrays, np.array([2], np.uint8), {0: "bad \0 bytes"})
    hdf5.export_store(Store.open(tmp_path / "s"), tmp_path / "s.h5")
    copy = hdf5.import_store(tmp_path / "s.h5", tmp_path / "copy")
    assert copy.videos.column("source").tolist() == ["x\N{SYMBOL FOR NULL}y"]
    assert copy.open_branch(samples.PROTOCOL, "internvideo2").errors() == {
        0: "bad \N{SYMBOL FOR NULL} bytes"
    }


def test_an_interrupted_import_goes_on(store: Store, tmp_path: Path) -> None:
    hdf5.export_store(store, tmp_path / "s.h5")
    for _ in range(10):
        process = FORK.Process(
            target=hdf5.import_store, args=(tmp_path / "s.h5", tmp_path / "copy")
        )
        process.start()
        time.sleep(0.01)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
    hdf5.import_store(tmp_path / "s.h5", tmp_path / "copy")
    assert tree(tmp_path / "copy") == tree(tmp_path / "s")


def test_what_is_in_the_way_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    (tmp_path / "s.h5").write_text("mine")
    with pytest.raises(OutputExists, match=r"did not make it.*--overwrite"):
        hdf5.export_store(store, tmp_path / "s.h5")
    assert (tmp_path / "s.h5").read_text() == "mine"
    hdf5.export_store(store, tmp_path / "s.h5", overwrite=True)
    before = (tmp_path / "s.h5").stat()
    hdf5.export_store(store, tmp_path / "s.h5")
    assert (tmp_path / "s.h5").stat() == before
    branch = store.open_branch(samples.PROTOCOL, "internvideo2")
    branch.forget_rows(np.array([0]))
    ones = {n: np.ones((4, *a.shape), a.dtype) for n, a in samples.SPEC.arrays.items()}
    branch.write_shard(0, ones, np.array([1, 0, 0, 0], np.uint8))  # as many as before
    with pytest.raises(OutputExists, match="another content"):
        hdf5.export_store(store, tmp_path / "s.h5")
    hdf5.export_store(store, tmp_path / "t.h5")
    other = Store.create(tmp_path / "other", scheme="hfv2", classes=("forgery", "real"))
    with pytest.raises(StoreExists, match="Import into a new store"):
        hdf5.import_store(tmp_path / "t.h5", tmp_path / "other")
    assert other.videos.count == 0
    samples.new_store(tmp_path / "more", 0).add_videos({"id": ["z"]})
    with pytest.raises(StoreExists, match="holds other videos"):
        hdf5.import_store(tmp_path / "t.h5", tmp_path / "more")


def link_outside(file: hdf5.Hdf5) -> None:
    del file["videos/id"]
    file["videos/id"] = h5py.ExternalLink("/etc/passwd", "/x")


def newer_format(file: hdf5.Hdf5) -> None:
    file.attrs["telltale"] = json.dumps({"format": 99})


def no_description(file: hdf5.Hdf5) -> None:
    del file.attrs["telltale"]


def other_shape(file: hdf5.Hdf5) -> None:
    group = file[f"{samples.PROTOCOL}/{samples.SPEC.group}"]
    del group["cls"]
    group["cls"] = np.zeros((11, 2), np.float16)


def bad_status(file: hdf5.Hdf5) -> None:
    file[f"{samples.PROTOCOL}/{samples.SPEC.group}/status"][0] = 9


def short_table(file: hdf5.Hdf5) -> None:
    del file["videos/label"]
    file["videos/label"] = np.zeros(3, np.int16)


def hostile_id(file: hdf5.Hdf5) -> None:
    file["videos/id"][0] = "../../etc/passwd"


def missing_array(file: hdf5.Hdf5) -> None:
    del file[f"{samples.PROTOCOL}/{samples.SPEC.group}/depth"]


def missing_table(file: hdf5.Hdf5) -> None:
    del file["videos"]


def odd_branch(file: hdf5.Hdf5) -> None:
    group = file[f"{samples.PROTOCOL}/{samples.SPEC.group}"]
    described = json.loads(group.attrs["telltale"])
    described["branch"]["arrays"]["cls"]["shape"] = "wide"
    group.attrs["telltale"] = json.dumps(described)


@pytest.mark.parametrize(
    "harm",
    [
        link_outside, newer_format, no_description, other_shape, bad_status, short_table,
        hostile_id, missing_array, missing_table, odd_branch,
    ],
)  # fmt: skip
def test_a_file_that_is_not_ours_is_refused(
    store: Store, tmp_path: Path, harm: Callable[[hdf5.Hdf5], None]
) -> None:
    path = tmp_path / "s.h5"
    hdf5.export_store(store, path)
    with h5py.File(path, "r+") as file:
        harm(file)
    with pytest.raises(StoreError):
        hdf5.import_store(path, tmp_path / "copy")


def test_a_damaged_file_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    hdf5.export_store(store, path)
    content = path.read_bytes()
    at = content.index(samples.numbers("cls", 0).tobytes())
    path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    with pytest.raises(StoreError, match=r"s\.h5"):
        hdf5.import_store(path, tmp_path / "copy")
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(NotAStore, match="cannot be read as HDF5"):
        hdf5.import_store(path, tmp_path / "copy2")
    with pytest.raises(NotAStore, match="does not exist"):
        hdf5.import_store(tmp_path / "none.h5", tmp_path / "copy3")
